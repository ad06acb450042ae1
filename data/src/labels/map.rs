//! Names for the values of masks, as an option gives them.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::values::{colour_value, value_text};
use crate::error::DataError;

/// Which class each value of a mask is: `0=background,85=lesion,255=ignored`. Values of one name
/// are one class; classes are numbered as they are named first. A value may be a colour,
/// `#ff0000=vessel`. Pixels of the name `ignored` do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelMap {
    /// Names, by class.
    pub(crate) classes: Vec<String>,
    /// Classes by value; none is ignored.
    pub(crate) values: BTreeMap<i64, Option<usize>>,
}

impl LabelMap {
    /// Names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    fn add(&mut self, value: i64, name: &str) -> Result<(), String> {
        let class = match name {
            "ignored" | "ignore" => None,
            _ => Some(self.classes.iter().position(|class| class == name).unwrap_or_else(|| {
                self.classes.push(name.to_owned());
                self.classes.len() - 1
            })),
        };
        match self.values.insert(value, class) {
            Some(_) => Err(format!("value {} is named twice", value_text(value))),
            None => Ok(()),
        }
    }
}

impl FromStr for LabelMap {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, DataError> {
        let refuse = |why: String| DataError::option("labels", text, why);
        let mut map = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (value, name) = part
                .split_once('=')
                .map(|(value, name)| (value.trim(), name.trim()))
                .filter(|(_, name)| !name.is_empty())
                .ok_or_else(|| refuse("expected VALUE=NAME,VALUE=NAME, such as 0=background,255=lesion".into()))?;
            let number = match value.strip_prefix('#') {
                Some(colour) if colour.len() == 6 => u32::from_str_radix(colour, 16).ok().map(colour_value),
                Some(_) => None,
                None => value.parse().ok().filter(|v: &i64| v.unsigned_abs() < 1 << 40),
            };
            let number = number.ok_or_else(|| refuse(format!("{value} is neither an integer nor a colour such as #ff0000")))?;
            map.add(number, name).map_err(refuse)?;
        }
        if map.classes.len() < 2 {
            return Err(refuse("names fewer than two classes".into()));
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_one_name_are_one_class() {
        let map: LabelMap = "0=background, 85=lesion,170=lesion,#FFFFFF=ignored,#ff0000=vessel".parse().unwrap();
        assert_eq!(map.classes(), ["background", "lesion", "vessel"]);
        let values: Vec<_> = map.values.iter().map(|(value, class)| (value_text(*value), *class)).collect();
        let expected = [("0", Some(0)), ("85", Some(1)), ("170", Some(1)), ("255", None), ("#ff0000", Some(2))]
            .map(|(v, c)| (v.to_owned(), c));
        assert_eq!(values, expected);
        let refused = |text: &str| text.parse::<LabelMap>().unwrap_err().to_string();
        assert_eq!(refused("0=a,0=b"), "--labels 0=a,0=b: value 0 is named twice");
        assert_eq!(refused("0=a"), "--labels 0=a: names fewer than two classes");
        assert_eq!(refused("x=a,1=b"), "--labels x=a,1=b: x is neither an integer nor a colour such as #ff0000");
        assert_eq!(refused("0:a"), "--labels 0:a: expected VALUE=NAME,VALUE=NAME, such as 0=background,255=lesion");
    }
}
