//! Every option of every term as a method: it makes the loss that its text makes.

use loss_core::matching::{CrossEntropy, Focal, LogRecall, TopK};
use loss_core::overlap::{Dice, GeneralizedDice, Jaccard, RegionWeight, Tversky};
use loss_core::penalty::{DiceBias, Kl, L1, SizeTarget};
use loss_core::unsplit::Boundary;
use loss_core::{AbsentClass, Activation, Form, Loss, LossError, Pooling, catalogue, matching, overlap, penalty, unsplit};

type Row = (Loss, String);

const SOFTMAX: Activation = Activation::Softmax;
const SIGMOID: Activation = Activation::Sigmoid;

/// Pairs of a loss and the text of its one term: its name, and options in parentheses.
macro_rules! rows {
    ($role:ident, $name:literal: $($term:expr => $options:literal),* $(,)?) => {
        vec![$(($role($term), format!("{}({})", $name, $options))),*]
    };
}

fn matching_terms() -> Result<Vec<Row>, LossError> {
    let mut rows = rows!(matching, "ce":
        CrossEntropy::new().class_weights(&[0.5, 2.0])? => "class_weights=[0.5, 2]",
        CrossEntropy::new().label_smoothing(0.25)? => "label_smoothing=0.25",
        CrossEntropy::new().pooling(Pooling::Sample) => "pooling=sample",
        CrossEntropy::new().activation(SIGMOID) => "activation=sigmoid",
    );
    rows.extend(rows!(matching, "focal":
        Focal::new().gamma(1.5)? => "gamma=1.5",
        Focal::new().alpha(0.25)? => "alpha=0.25",
        Focal::new().class_weights(&[0.5, 2.0])? => "class_weights=[0.5, 2]",
        Focal::new().pooling(Pooling::Sample) => "pooling=sample",
        Focal::new().activation(SOFTMAX) => "activation=softmax",
    ));
    rows.extend(rows!(matching, "topk":
        TopK::new().fraction(0.25)? => "fraction=0.25",
        TopK::new().class_weights(&[0.5, 2.0])? => "class_weights=[0.5, 2]",
        TopK::new().pooling(Pooling::Sample) => "pooling=sample",
        TopK::new().activation(SIGMOID) => "activation=sigmoid",
    ));
    rows.extend(rows!(matching, "log_recall":
        LogRecall::new().smooth(0.5)? => "smooth=0.5",
        LogRecall::new().pooling(Pooling::Sample) => "pooling=sample",
        LogRecall::new().temperature(10.0)? => "temperature=10",
        LogRecall::new().absent(AbsentClass::Skip) => "absent=skip",
        LogRecall::new().classes(&[1, 2])? => "classes=[1, 2]",
        LogRecall::new().class_weights(&[0.5, 2.0])? => "class_weights=[0.5, 2]",
        LogRecall::new().activation(SIGMOID) => "activation=sigmoid",
    ));
    Ok(rows)
}

macro_rules! proportion_rows {
    ($type:ident, $name:literal) => {{
        rows!(penalty, $name:
            $type::new().temperature(1.0)? => "temperature=1",
            $type::new().pooling(Pooling::Batch) => "pooling=batch",
            $type::new().target(SizeTarget::Given)? => "target=given",
            $type::new().target(SizeTarget::Prior(vec![0.25, 0.75]))? => "target=[0.25, 0.75]",
            $type::new().epsilon(0.001)? => "epsilon=0.001",
            $type::new().classes(&[1, 2])? => "classes=[1, 2]",
            $type::new().class_weights(&[0.5, 2.0])? => "class_weights=[0.5, 2]",
            $type::new().activation(SIGMOID) => "activation=sigmoid",
        )
    }};
}

fn size_terms() -> Result<Vec<Row>, LossError> {
    let mut rows = proportion_rows!(L1, "l1");
    rows.extend(proportion_rows!(Kl, "kl"));
    rows.extend(rows!(penalty, "kl": Kl::new().background(false) => "background=false"));
    rows.extend(proportion_rows!(DiceBias, "db"));
    Ok(rows)
}

macro_rules! ratio_rows {
    ($new:expr, $name:literal) => {{
        rows!(overlap, $name:
            $new.form(Form::Log) => "form=log",
            $new.pooling(Pooling::Sample) => "pooling=sample",
            $new.smooth(1.0)? => "smooth=1",
            $new.smooth_numerator(1.0)? => "smooth_numerator=1",
            $new.smooth_denominator(2.0)? => "smooth_denominator=2",
            $new.temperature(10.0)? => "temperature=10",
            $new.absent(AbsentClass::Count) => "absent=count",
            $new.absent(AbsentClass::SkipEmpty) => "absent=skip_empty",
            $new.classes(&[1, 2])? => "classes=[1, 2]",
            $new.class_weights(&[0.5, 2.0])? => "class_weights=[0.5, 2]",
            $new.activation(SIGMOID) => "activation=sigmoid",
        )
    }};
}

fn overlap_terms() -> Result<Vec<Row>, LossError> {
    let mut rows = ratio_rows!(Dice::new(), "dice");
    rows.extend(rows!(overlap, "dice": Dice::log() => "form=log", Dice::new().squared(true)? => "squared=true"));
    rows.extend(ratio_rows!(Jaccard::new(), "jaccard"));
    rows.extend(ratio_rows!(Tversky::new(), "tversky"));
    rows.extend(rows!(overlap, "tversky":
        Tversky::new().alpha(0.3)? => "alpha=0.3",
        Tversky::new().beta(0.7)? => "beta=0.7",
    ));
    rows.extend(rows!(overlap, "gdice":
        GeneralizedDice::new().form(Form::Log) => "form=log",
        GeneralizedDice::new().pooling(Pooling::Sample) => "pooling=sample",
        GeneralizedDice::new().weighting(RegionWeight::Simple) => "weighting=simple",
        GeneralizedDice::new().weighting(RegionWeight::Uniform) => "weighting=uniform",
        GeneralizedDice::new().classes(&[1, 2])? => "classes=[1, 2]",
        GeneralizedDice::new().activation(SOFTMAX) => "activation=softmax",
    ));
    Ok(rows)
}

fn unsplit_terms() -> Result<Vec<Row>, LossError> {
    Ok(rows!(unsplit, "boundary":
        Boundary::new().classes(&[1, 2])? => "classes=[1, 2]",
        Boundary::new().class_weights(&[0.5, 2.0])? => "class_weights=[0.5, 2]",
        Boundary::new().pooling(Pooling::Sample) => "pooling=sample",
        Boundary::new().activation(SIGMOID) => "activation=sigmoid",
    ))
}

#[test]
fn a_method_and_its_text_make_the_same_loss() {
    let rows = [matching_terms(), size_terms(), overlap_terms(), unsplit_terms()].map(Result::unwrap).concat();
    for (built, text) in &rows {
        assert_eq!(&built.to_string(), text);
        assert_eq!(&text.parse::<Loss>().unwrap(), built);
    }
    for term in catalogue() {
        for option in term.options {
            let start = format!("{}({}=", term.name, option.name);
            assert!(rows.iter().any(|(_, text)| text.starts_with(&start)), "no method sets {start}..)");
        }
    }
}

#[test]
fn a_method_refuses_what_the_text_refuses() {
    fn refused<T>(built: Result<T, LossError>) -> String {
        built.err().map_or_else(|| "accepted".to_owned(), |error| error.to_string())
    }
    for (built, text) in [
        (refused(CrossEntropy::new().class_weights(&[])), "ce(class_weights=[])"),
        (refused(CrossEntropy::new().label_smoothing(-0.1)), "ce(label_smoothing=-0.1)"),
        (refused(Focal::new().gamma(101.0)), "focal(gamma=101)"),
        (refused(Focal::new().alpha(-0.5)), "focal(alpha=-0.5)"),
        (refused(Focal::new().class_weights(&[0.0])), "focal(class_weights=[0])"),
        (refused(LogRecall::new().smooth(-1.0)), "log_recall(smooth=-1)"),
        (refused(L1::new().target(SizeTarget::Prior(vec![]))), "l1(target=[])"),
        (refused(L1::new().temperature(0.0)), "l1(temperature=0)"),
        (refused(Jaccard::new().temperature(2e6)), "jaccard(temperature=2000000)"),
        (refused(Dice::new().classes(&[2, 2])), "dice(classes=[2, 2])"),
        (refused(LogRecall::new().class_weights(&[-1.0])), "log_recall(class_weights=[-1])"),
        (refused(Kl::new().epsilon(-0.5)), "kl(epsilon=-0.5)"),
        (refused(DiceBias::new().epsilon(2.0)), "db(epsilon=2)"),
        (refused(Dice::new().smooth(-1.0)), "dice(smooth=-1)"),
        (refused(Dice::new().smooth_numerator(-1.0)), "dice(smooth_numerator=-1)"),
        (refused(Jaccard::new().smooth_denominator(-1.0)), "jaccard(smooth_denominator=-1)"),
        (refused(Dice::new().temperature(10.0).and_then(|dice| dice.squared(true))), "dice(temperature=10, squared=true)"),
        (refused(Dice::new().squared(true).and_then(|dice| dice.temperature(10.0))), "dice(temperature=10, squared=true)"),
        (refused(Tversky::new().alpha(11.0)), "tversky(alpha=11)"),
        (refused(Tversky::new().beta(-1.0)), "tversky(beta=-1)"),
        (refused(GeneralizedDice::new().classes(&[])), "gdice(classes=[])"),
        (refused(GeneralizedDice::new().classes(&[1, 1])), "gdice(classes=[1, 1])"),
    ] {
        // The text says where as well.
        let of_text = refused(text.parse::<Loss>());
        assert_eq!(Some(built.as_str()), of_text.split_once("`: ").map(|(_, of_term)| of_term), "{text}");
        assert!(built.contains("is not allowed; expected"), "{text}: {built}");
    }
}
