//! Losses as text: what reads, and how it prints. What is refused: refused_text.rs.

use loss_core::expr::{Expr, Scalar};
use loss_core::{
    Activation, Detail, Loss, LossError, PRESETS, RegionSizePenalty, RegionSizes, Role, Schedule, Temperature, catalogue,
    matching, penalty, spec,
};
use proptest::prelude::*;

fn parse(text: &str) -> Loss {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_fourteen_names_read_as_their_texts() {
    for (name, text) in PRESETS {
        assert_eq!(parse(name), parse(text), "{name}");
        assert_eq!(parse(name).to_string(), text, "{name}");
        assert_eq!(parse(&name.to_lowercase()), parse(name), "{name}");
    }
}

#[test]
fn text_prints_back() {
    for text in [
        "ce",
        "ce + 0.5 * l1",
        "ce - 0.25 * dice(form=log)",
        "-1 * ce + dice",
        "1e-10 * ce(class_weights=[0.1, 1], label_smoothing=0.05, pooling=sample, activation=sigmoid)",
        "focal(gamma=1.5, activation=softmax) + grow(1, factor=5, every=10, cap=100) * kl(temperature=2.5, background=false)",
        "gdice(weighting=simple) + tversky(alpha=0.3, beta=0.7, absent=skip, classes=[1, 2])",
        "jaccard(smooth_numerator=1, smooth_denominator=2) + log_recall with activation=sigmoid, ignore=[255, -100]",
        "db(target=[0.9, 0.1], epsilon=0.001) with ignore=255",
        "l1(target=given)",
    ] {
        assert_eq!(parse(text).to_string(), text);
        for loss in [parse(text), parse(text).at_epoch(5), parse(text).at_epoch(usize::MAX)] {
            let json = serde_json::to_string(&loss).unwrap();
            let back: Loss = serde_json::from_str(&json).unwrap();
            assert_eq!(back, loss);
            assert!(back.terms().map(|(weight, _)| weight).eq(loss.terms().map(|(weight, _)| weight)), "{json}");
        }
    }
}

#[test]
fn other_spellings_read_as_the_same() {
    for (text, same) in [
        ("CE+LogDice", "ce + dice(form=log)"),
        ("cross_entropy + generalized_dice", "ce + gdice"),
        ("2*(ce + 3*l1)", "2 * ce + 6 * l1"),
        ("-(ce - dice)", "-1 * ce + dice"),
        ("ce*0.5", "0.5 * ce"),
        ("ce*0.5+dice*2-l1", "0.5 * ce + 2 * dice - l1"),
        ("1e+1*ce - 1E-1*dice", "10 * ce - 0.1 * dice"),
        ("0 * grow(1, factor=2, every=3, cap=8) * l1", "grow(0, factor=2, every=3, cap=0) * l1"),
        ("ce with ignore=[1e15, -1e15]", "ce with ignore=[1000000000000000, -1000000000000000]"),
        ("grow(1, cap=1) * l1", "grow(1, factor=1, every=1, cap=1) * l1"),
        ("focal(gamma=100, alpha=none)", "focal(gamma=100)"),
        ("dice(class_weights=none, classes=all)", "dice"),
        ("ce(class_weights=[0, 1])", "ce(class_weights=[0, 1])"),
        ("tversky(alpha=0, beta=1)", "tversky(alpha=0, beta=1)"),
        ("l1(temperature=10)", "l1"),
        ("2 * grow(1, factor=2, every=3, cap=8) * l1", "grow(2, factor=2, every=3, cap=16) * l1"),
        ("  ce  +  l1 ( ) ", "ce + l1"),
        ("ce with activation=softmax", "ce with activation=softmax"),
        ("ce with epoch=1e3, ignore=7", "ce with ignore=7, epoch=1000"),
    ] {
        assert_eq!(parse(text).to_string(), same, "{text}");
    }
}

#[test]
fn operators_build_the_same_loss() {
    let built = matching(matching::CrossEntropy::new()) + 0.5 * penalty(penalty::L1::new());
    assert_eq!(built, parse("ce + 0.5 * l1"));
    assert_eq!((built.clone() * 2.0).to_string(), "2 * ce + l1");
    let joined = built.with_ignore_index(255) + parse("dice with ignore=[255, 7], activation=sigmoid");
    assert_eq!(joined.to_string(), "ce + 0.5 * l1 + dice with activation=sigmoid, ignore=[255, 7]");
}

#[test]
fn losses_are_equal_by_text_which_has_the_epoch() {
    let loss = parse("ce + grow(1, factor=5, every=10, cap=100) * l1");
    assert_ne!(loss, parse("ce + l1"));
    assert_ne!(loss, loss.at_epoch(1));
    assert_eq!(loss.at_epoch(2), loss.at_epoch(2));
    let shown = "Loss(ce + grow(1, factor=5, every=10, cap=100) * l1";
    assert_eq!(format!("{loss:?}"), format!("{shown})"));
    assert_eq!(format!("{:?}", loss.at_epoch(1)), format!(r#"{shown} with epoch=1; weights ["1", "1"])"#));
    assert_eq!(format!("{:?}", loss.at_epoch(10)), format!(r#"{shown} with epoch=10; weights ["1", "5"])"#));
}

/// As many terms as a text has room for: what it takes grows with their number, not its square.
#[test]
fn a_sum_of_many_terms_is_read() {
    assert_eq!(parse(&["2 * ce"; 50_000].join(" - ")).terms().len(), 50_000);
}

#[test]
fn schedules_follow_the_authors() {
    let loss = parse("ce + grow(1, factor=5, every=10, cap=100) * l1");
    let weights: Vec<f64> = [0, 9, 10, 20, 29, 30, 1000].iter().map(|&e| loss.at_epoch(e).terms().nth(1).unwrap().0).collect();
    assert_eq!(weights, [1.0, 1.0, 5.0, 25.0, 25.0, 100.0, 100.0]);
    assert_eq!(Schedule::Constant(0.3).at(7), 0.3);
    // Written without `grow`.
    let odd = parse("ce").scheduled(Schedule::Grow { initial: 1.0, factor: 0.5, every: 1.0, cap: 2.0 });
    assert!(matches!(odd, Err(LossError::OptionOutOfRange { term: "grow", option: "factor", .. })), "{odd:?}");
    let minus = parse("-2 * grow(1, factor=5, every=10, cap=100) * l1");
    assert_eq!([0, 10, 1000].map(|e| minus.at_epoch(e).terms().next().unwrap().0), [-2.0, -10.0, -200.0]);
    assert_eq!(minus.to_string(), "-1 * grow(2, factor=5, every=10, cap=200) * l1");
    assert_eq!(parse(&minus.to_string()), minus);
    assert_eq!(Schedule::grow(0.0, f64::MAX, 1.0, 1.0).unwrap().at(10), 0.0);
    // Programs are shared between epochs: nothing is rebuilt.
    let (first, later) = (loss.program(3, Detail::Total).unwrap(), loss.at_epoch(30).program(3, Detail::Total).unwrap());
    assert!(std::sync::Arc::ptr_eq(&first, &later));
}

#[test]
fn a_term_of_ones_own_joins_the_vocabulary() {
    #[derive(Clone, Default)]
    struct Shrink {
        power: f64,
    }
    impl RegionSizePenalty for Shrink {
        fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar> {
            sizes.predicted(Temperature::ONE).powf(self.power).sum_classes().mean_samples()
        }
        fn text(&self) -> Option<String> {
            Some(spec::text_of(self))
        }
    }
    impl spec::Describe for Shrink {
        const NAME: &'static str = "shrink";
        const SUMMARY: &'static str = "test";
        const FORMULA: &'static str = "p^power";
        fn visit(&mut self, visitor: &mut spec::Visitor<'_>) -> Result<(), LossError> {
            visitor.option("power", "exponent", &mut self.power)
        }
        fn check(&self) -> Result<(), LossError> {
            Ok(())
        }
        fn into_term(self) -> loss_core::Term {
            loss_core::Term::Size(std::sync::Arc::new(self))
        }
    }
    let mut vocabulary = spec::Vocabulary::default();
    vocabulary.add::<Shrink>();
    let loss = Loss::parse("ce + 2 * shrink(power=0.5)", &vocabulary).unwrap();
    assert_eq!(loss.to_string(), "ce + 2 * shrink(power=0.5)");
    assert_eq!(loss.terms().nth(1).unwrap().1.role(), Role::Size);
    assert_eq!(loss, Loss::parse("ce + 2 * shrink(power=0.5)", &vocabulary).unwrap());
    assert!(loss != Loss::parse("ce + 2 * shrink(power=0.25)", &vocabulary).unwrap());
    assert_eq!(format!("{:>9}{:>9}{:>9}", Role::Matching, Role::Size, Role::Overlap), " matching     size  overlap");
}

/// Without a text.
struct Cap(f64);

impl RegionSizePenalty for Cap {
    fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar> {
        self.0 * sizes.predicted(Temperature::ONE).sum_classes().mean_samples()
    }
}

#[test]
fn terms_without_a_text_are_equal_to_their_clones() {
    let (one, two) = (penalty(Cap(1.0)), penalty(Cap(2.0)));
    assert!(one == one.clone() && one != two && one.to_string() == two.to_string());
    assert!(matches!(one.statistics(3).unwrap().merge(two.statistics(3).unwrap()), Err(LossError::OtherLoss { .. })));
    assert!(one.statistics(3).unwrap().merge(one.clone().statistics(3).unwrap()).is_ok());
}

#[test]
fn every_label_can_be_ignored_in_text() {
    for label in [0, -1, 255, i64::MAX, i64::MIN, (1 << 53) + 1] {
        let loss = parse("ce").with_ignore_index(label);
        assert_eq!(parse(&loss.to_string()).ignored(), [label]);
        assert_eq!(parse(&format!("ce with ignore=[7, {label}]")).ignored(), [7, label]);
    }
    assert_eq!(parse("ce with ignore=- 3").ignored(), [-3]);
    assert_eq!(parse("ce with ignore=1e3").ignored(), [1000]);
}

#[test]
fn the_catalogue_lists_defaults_that_read() {
    let names = ["ce", "focal", "topk", "log_recall", "l1", "kl", "db", "dice", "gdice", "tversky", "jaccard", "boundary"];
    assert!(catalogue().iter().map(|term| term.name).eq(names));
    for term in catalogue() {
        let loss = parse(term.name);
        let read = loss.terms().next().unwrap().1;
        assert_eq!((read.name().as_str(), read.role()), (term.name, term.role));
        for option in &term.options {
            let text = format!("{}({}={})", term.name, option.name, option.default);
            assert_eq!(parse(&text).to_string(), term.name, "{text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_weights_and_options_round_trip(
        weights in proptest::collection::vec(-1e6..1e6f64, 1..5),
        gamma in 0.0..100.0f64,
        temperature in 1e-3..1e6f64,
        prior in proptest::collection::vec(0.0..=1.0f64, 1..6),
        ignore in proptest::collection::vec(any::<i32>(), 0..4),
        sigmoid in any::<bool>(),
    ) {
        let terms = [
            "ce".to_owned(),
            format!("focal(gamma={gamma})"),
            format!("l1(temperature={temperature})"),
            format!("kl(target={prior:?})"),
        ];
        let sum: Vec<_> = weights.iter().zip(&terms).map(|(w, t)| format!("{w} * {t}")).collect();
        let mut loss = parse(&sum.join(" + "));
        loss = ignore.iter().fold(loss, |loss, &label| loss.with_ignore_index(label.into()));
        if sigmoid {
            loss = loss.with_activation(Activation::Sigmoid);
        }
        prop_assert_eq!(&parse(&loss.to_string()), &loss);
        let read: Vec<f64> = parse(&loss.to_string()).terms().map(|(w, _)| w).collect();
        prop_assert_eq!(read, weights);
    }

    #[test]
    fn no_text_panics(text in "[a-z0-9_ .,=+*()\\[\\]-]{0,40}|\\PC{0,20}") {
        let _ = text.parse::<Loss>();
    }
}
