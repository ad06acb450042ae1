//! Folders that lie beside the project: the five sets of real data, and those of public bug
//! reports.

#[path = "../../conformance-tests/tests/beside/mod.rs"]
mod beside;

use std::path::PathBuf;

use segloss_data::{Dataset, IGNORED, Options, Scale, Soft, Split, Survey, Target};

use beside::beside;

/// The path and what is in it; none, with a word, where nothing lies beside the project.
fn folder(name: &str) -> Option<PathBuf> {
    let path = beside(name);
    if path.is_none() {
        eprintln!("left out: there is no {}/{name}", beside::SHARED);
    }
    path
}

fn survey(path: &std::path::Path, options: &Options) -> (Dataset, Survey) {
    let dataset = Dataset::open(path, options).unwrap();
    let survey = dataset.survey(|_, _| ());
    assert_eq!(survey.problems, [""; 0], "{}", path.display());
    (dataset, survey)
}

fn near(found: f64, expected: f64, by: f64) {
    assert!((found - expected).abs() <= by, "{found} is not {expected}");
}

#[test]
fn the_rule_of_leaving_out() {
    beside::rule();
}

#[test]
fn drive() {
    let Some(path) = folder("data/drive") else { return };
    let (dataset, survey) = survey(&path, &Options::default());
    assert_eq!(survey.splits, [(Split::Train, 20), (Split::Test, 20)].into());
    assert_eq!(survey.sizes[0].what, "565x584");
    near(survey.classes[1].share, 0.13, 0.01);
    let item = dataset.item(0).unwrap();
    assert_eq!(item.image.shape(), [1, 584, 565]);
    let Target::Labels(labels) = &item.target else { panic!("{:?}", item.target) };
    let valid = || item.image.iter().zip(labels).filter(|(_, label)| **label != IGNORED).map(|(v, _)| f64::from(*v));
    near(valid().sum::<f64>() / valid().count() as f64, 0.0, 1e-4);
    near(valid().map(|v| v * v).sum::<f64>() / valid().count() as f64, 1.0, 1e-3);
}

#[test]
fn em() {
    let Some(path) = folder("data/em") else { return };
    let (_, survey) = survey(&path, &Options::default());
    assert_eq!((survey.pairs, survey.classes.len(), survey.channels), (27, 7, 1));
    assert!(survey.classes[0].share > 0.6 && survey.classes[6].share < 0.006);
}

#[test]
fn rust() {
    let Some(path) = folder("data/rust") else { return };
    let refused = Dataset::open(&path, &Options::default()).unwrap_err().to_string();
    assert!(refused.contains("binary_mask and probabilistic_mask; say which are meant with --masks-in"), "{refused}");
    let masks = |name: &str| Options { masks: Some(name.into()), ..Options::default() };
    let (_, binary) = survey(&path, &masks("binary_mask"));
    assert_eq!((binary.pairs, binary.channels, binary.classes.len()), (63, 3, 2));
    let lesions = &binary.classes[1].shares;
    near(lesions[0], 0.004, 0.0006);
    near(lesions[62], 0.166, 0.0006);
    let votes = Options { soft: Some(Soft::OfType), ..masks("probabilistic_mask") };
    let (dataset, soft) = survey(&path, &votes);
    near(soft.classes[0].share + soft.classes[1].share, 1.0, 1e-6);
    let Target::Soft(shares) = dataset.item(30).unwrap().target else { panic!() };
    let thirds = shares.iter().map(|share| (3.0 * share).round() / 3.0).zip(&shares);
    assert!(thirds.into_iter().all(|(third, share)| (third - share).abs() < 1e-6));
    let refused = Dataset::open(&path, &masks("probabilistic_mask")).unwrap_err().to_string();
    assert!(refused.contains("0, 85, 170 and 255") && refused.contains("--soft"), "{refused}");
    let labels =
        Options { labels: Some("0=leaf,85=lesion,170=lesion,255=lesion".parse().unwrap()), ..masks("probabilistic_mask") };
    let (_, named) = survey(&path, &labels);
    assert_eq!(named.classes[1].name, "lesion");
}

#[test]
fn nuclei() {
    let Some(path) = folder("data/nuclei") else { return };
    let (dataset, survey) = survey(&path, &Options::default());
    assert_eq!((survey.pairs, survey.channels), (85, 3));
    near(survey.classes[1].shares[0], 0.009, 0.0006);
    near(survey.classes[1].shares[84], 0.41, 0.006);
    assert!(survey.notes.iter().any(|note| note.text == "transparency is dropped" && note.count == 85), "{:?}", survey.notes);
    assert_eq!(dataset.item(0).unwrap().image.shape()[0], 3);
    let grey = Dataset::open(&path, &Options { grey: true, ..Options::default() }).unwrap();
    assert_eq!(grey.item(0).unwrap().image.shape()[0], 1);
}

#[test]
fn hippocampus() {
    let Some(path) = folder("data/hippocampus") else { return };
    let (dataset, survey) = survey(&path, &Options::default());
    assert_eq!((survey.pairs, survey.classes.len()), (64, 3));
    near(survey.classes[1].share, 0.027, 0.001);
    near(survey.classes[2].share, 0.025, 0.001);
    assert_eq!((survey.spacings[0].what.as_str(), survey.orientations[0].what.as_str()), ("1 x 1 x 1 mm", "RAS"));
    let item = dataset.item(0).unwrap();
    assert_eq!((item.image.ndim(), item.spacing), (4, Some(vec![1.0; 3])));
}

/// The folders of bug reports: read, or refused with a word that names what is wrong.
#[test]
fn reports() {
    let open =
        |name: &str, options: &Options| folder(&format!("reports/folders/{name}")).map(|path| Dataset::open(&path, options));
    let plain = Options::default();
    let read = |name: &str, pairs: usize, channels: usize, classes: usize| {
        let Some(path) = folder(&format!("reports/folders/{name}")) else { return };
        let (dataset, survey) = survey(&path, &plain);
        assert_eq!((survey.pairs, survey.channels, survey.classes.len()), (pairs, channels, classes), "{name}");
        for i in 0..dataset.len() {
            assert_eq!(dataset.item(i).unwrap().image.shape(), [channels, 40, 40], "{name}");
        }
    };
    read("t03_rgb", 4, 3, 2);
    read("t05_palette", 4, 1, 3);
    read("t06_mask_0_255", 4, 1, 2);
    read("t08_images_masks", 4, 1, 2);
    read("t08e_train_val", 6, 1, 2);
    read("t09_jpeg", 4, 1, 2);
    read("t13f_validation_ignored", 4, 1, 2);

    let Some(mixed) = open("t06c_mixed_0_1_and_0_255", &plain) else { return };
    let refused = mixed.unwrap_err().to_string();
    assert!(
        refused.ends_with(
            "s1_label.png: 2 of 6 masks hold 0 and 255 alone, others 0 and 1 as s0_label.png: is 255 foreground or ignored? say \
             --labels 0=background,1=lesion,255=lesion or --ignore 255"
        ),
        "{refused}"
    );
    let told = Options { ignore: vec![255], ..Options::default() };
    let told = open("t06c_mixed_0_1_and_0_255", &told).unwrap().unwrap().survey(|_, _| ());
    assert!(told.files[1].ignored > 0.0 && told.files[0].ignored == 0.0);

    let broken = open("t10c_bitflip", &plain).unwrap().unwrap();
    let problems = broken.survey(|_, _| ()).problems;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].contains("s1_image.png: not a readable PNG: ") && !problems[0].contains('{'), "{problems:?}");
    assert!(broken.item(1).is_err());
    let grey = Options { scale: Scale::None, grey: true, ..Options::default() };
    let grey = open("t03_rgb", &grey).unwrap().unwrap();
    assert_eq!(grey.image(0).unwrap().shape(), [1, 40, 40]);
}
