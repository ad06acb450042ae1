//! Losses as programs: what is shared, what can be differentiated, what each term is by itself,
//! what is refused.

use loss_core::expr::{Algebra, Expr, HostAlgebra, Op, Scalar, Table};
use loss_core::{
    Activation, AllRegions, Decomposition, Detail, Geometry, GroundTruthMatching, Inputs, InsideTruth, Loss, LossError, Over,
    Overlap, Passes, Plan, Probability, Program, Quantity, RegionSizePenalty, RegionSizes, Side, SplitOf, Statistic,
    TargetKind, Temperature, matching, overlap, penalty,
};

const SAMPLES: usize = 2;
const CLASSES: usize = 3;

fn parse(text: &str) -> Loss {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn program(text: &str, detail: Detail) -> std::sync::Arc<Program> {
    parse(text).program(CLASSES, detail).unwrap()
}

/// Numbers that a softmax could have, each statistic with others; `moved` is added to the first of
/// every one.
fn statistics(plan: &Plan, moved: f64) -> Vec<Table> {
    let table = |statistic: &Statistic| {
        let mut values = match statistic {
            Statistic { over: Over::Valid, of: Quantity::One, .. } => vec![10.0, 8.0],
            Statistic { of: Quantity::One, .. } => vec![5.0, 3.0, 2.0, 4.0, 3.0, 1.0],
            Statistic { over: Over::Valid, of: Quantity::Mass(_), .. } => vec![4.5, 3.25, 2.25, 4.25, 2.5, 1.25],
            Statistic { of: Quantity::Mass(_), .. } => vec![4.0, 2.0, 1.5, 3.5, 2.0, 0.75],
            Statistic { over: Over::Region, of: Quantity::Log(..), .. } => vec![-1.0, -2.0, -0.75, -0.5, -1.5, -0.25],
            Statistic { of: Quantity::Function(..), .. } => vec![0.5, 0.75, 0.25, 0.125, 1.5, 0.0625],
            other => panic!("no loss here asks for {other}"),
        };
        if statistic.depends_on_logits() {
            values[0] += moved;
        }
        Table::new(SAMPLES, plan.columns(statistic), values).unwrap()
    };
    plan.statistics().iter().map(table).collect()
}

/// A backend that always sees these numbers.
struct Known;

impl Passes for Known {
    type Gradient = ();

    fn geometry(&self) -> Geometry {
        Geometry { samples: SAMPLES, classes: CLASSES, pixels: 10 }
    }

    fn prior(&self) -> Option<&Table> {
        None
    }

    fn statistics(&self, plan: &Plan) -> Result<Vec<Table>, LossError> {
        Ok(statistics(plan, 0.0))
    }

    fn logit_gradient(&self, _: &Plan, _: &[Option<Table>], (): &mut ()) -> Result<(), LossError> {
        Ok(())
    }

    fn gradient_sums(&self, _: &Plan, _: &[Vec<Option<Table>>]) -> Result<Vec<Table>, LossError> {
        Ok(Vec::new())
    }
}

fn inputs(loss: &Loss) -> Inputs {
    loss.inputs(SAMPLES, None)
}

#[test]
fn a_loss_with_other_terms_has_a_program_of_its_own() {
    let alone = parse("ce");
    let first = alone.program(CLASSES, Detail::Total).unwrap();
    let both = alone.clone() + parse("dice");
    assert_eq!(both.program(CLASSES, Detail::Total).unwrap().plan().statistics().len(), 5);
    assert_eq!(first.plan().statistics().len(), 2);
    // Classes, activation and detail have programs of their own, and each is built once.
    let again = |loss: &Loss, classes, detail| std::sync::Arc::ptr_eq(&first, &loss.program(classes, detail).unwrap());
    assert!(again(&alone, CLASSES, Detail::Total));
    assert!(!again(&alone, 4, Detail::Total) && !again(&alone, CLASSES, Detail::Parts));
    assert!(!again(&alone.clone().with_activation(Activation::Sigmoid), CLASSES, Detail::Total));
}

#[test]
fn equal_parts_are_computed_once() {
    let operations = |text| program(text, Detail::Total).operations();
    assert!(operations("ce") > 5);
    // A second weight, its product, the sum, and a seed with its product and sum; what is
    // differentiated likewise.
    assert!(operations("ce + ce") < operations("ce") + 15, "{} and {}", operations("ce"), operations("ce + ce"));
}

#[test]
fn every_output_can_be_differentiated() {
    let loss = parse("ce - 0.5 * dice(form=log) + 2 * l1(temperature=1)");
    for detail in [Detail::Total, Detail::Parts] {
        let program = loss.program(CLASSES, detail).unwrap();
        let at = |moved| {
            let outputs = program.outputs(&HostAlgebra, &statistics(program.plan(), moved), &inputs(&loss)).unwrap();
            outputs.scalars().map(|table| table.values()[0]).collect::<Vec<f64>>()
        };
        let (less, more) = (at(-1e-5), at(1e-5));
        assert_eq!(less.len(), if detail == Detail::Total { 4 } else { 13 });
        for output in 0..less.len() {
            let mut seeds = vec![0.0; output + 1];
            seeds[output] = 3.0;
            let upstream = program.upstream(&statistics(program.plan(), 0.0), &inputs(&loss), &seeds).unwrap();
            assert_eq!(upstream.len(), program.plan().statistics().len());
            let first = |(statistic, table): (&Statistic, &Option<Table>)| {
                let table = table.as_ref()?;
                assert_eq!((table.rows(), table.columns()), (SAMPLES, CLASSES), "{statistic}");
                statistic.depends_on_logits().then(|| table.values()[0])
            };
            let slope: f64 = program.plan().statistics().iter().zip(&upstream).filter_map(first).sum();
            let difference = 3.0 * (more[output] - less[output]) / 2e-5;
            assert!((slope - difference).abs() < 1e-8, "output {output}: {slope} and {difference}");
        }
    }
}

#[test]
fn elements_are_the_terms_before_their_reduction() {
    let loss = parse(
        "l1 + kl(pooling=batch) + dice(pooling=sample, classes=[1, 2]) + dice + log_recall + ce + focal + gdice(activation=softmax)",
    );
    let program = loss.program(CLASSES, Detail::Total).unwrap();
    let statistics = statistics(program.plan(), 0.0);
    let values = program.outputs(&HostAlgebra, &statistics, &inputs(&loss)).unwrap().terms;
    let elements = program.elements(&statistics, &inputs(&loss)).unwrap();
    // Rows and how many elements the value is the mean of: 1 where it is their sum.
    let expected =
        [Some((2, 6.0)), Some((1, 1.0)), Some((2, 4.0)), Some((1, 3.0)), Some((1, 3.0)), Some((2, 1.0)), Some((2, 1.0)), None];
    assert_eq!(elements.len(), expected.len());
    assert_eq!(loss.elements_on(&mut Known).unwrap(), elements);
    for (i, (table, expected)) in elements.iter().zip(expected).enumerate() {
        let Some((rows, of)) = expected else {
            assert_eq!(table, &None);
            continue;
        };
        let table = table.as_ref().unwrap();
        assert_eq!((table.rows(), table.columns()), (rows, CLASSES), "term {i}");
        // Where a term looks at some classes only, the others' elements do not count.
        let counted = |k: usize| i != 2 || k > 0;
        let sum: f64 = table.values().iter().enumerate().filter(|(at, _)| counted(at % CLASSES)).map(|(_, v)| v).sum();
        let value = values[i].value.values()[0];
        assert!((sum / of - value).abs() < 1e-14, "term {i}: {} and {value}", sum / of);
    }
}

#[test]
fn a_linear_score_splits_as_its_logarithm_does() {
    for term in ["dice", "tversky", "jaccard", "gdice(activation=softmax)"] {
        let log = if term.ends_with(')') { term.replace(')', ", form=log)") } else { format!("{term}(form=log)") };
        let split = |text: &str| {
            let (loss, program) = (parse(text), program(text, Detail::Parts));
            let outputs = program.outputs(&HostAlgebra, &statistics(program.plan(), 0.0), &inputs(&loss)).unwrap();
            let term = &outputs.terms[0];
            let split = term.split.as_ref().unwrap();
            (term.value.values()[0], split.matching.values()[0], split.of)
        };
        let (linear, logarithm) = (split(term), split(&log));
        assert_eq!((linear.2, logarithm.2), (SplitOf::Logarithm, SplitOf::Value), "{term}");
        assert_eq!(linear.1, logarithm.1, "{term}");
        assert!(linear.0 < logarithm.0, "{term}");
    }
}

#[test]
fn a_given_prior_must_fit() {
    let loss = parse("l1(target=given, temperature=1)");
    let program = loss.program(CLASSES, Detail::Total).unwrap();
    let with = |rows: usize, columns: usize, values: &[f64]| {
        let prior = Table::new(rows, columns, values.to_vec()).unwrap();
        let outputs = program.outputs(&HostAlgebra, &statistics(program.plan(), 0.0), &loss.inputs(SAMPLES, Some(prior)))?;
        Ok::<f64, LossError>(outputs.total.values()[0])
    };
    let row = [0.5, 0.25, 0.25];
    assert_eq!(with(1, 3, &row).unwrap(), with(2, 3, &[row, row].concat()).unwrap());
    for (rows, columns) in [(3, 3), (2, 2), (1, 4), (2, 1)] {
        let message = format!("the prior given has shape [{rows}, {columns}], but needs [2, 3], or [1, 3] for all samples");
        assert_eq!(with(rows, columns, &vec![0.5; rows * columns]).unwrap_err().to_string(), message);
    }
    for value in [-0.5, 1.5, f64::NAN] {
        let error = with(2, 3, &[0.5, 0.25, 0.25, 0.5, value, 0.25]).unwrap_err().to_string();
        assert!(error.starts_with("given prior ") && error.ends_with(" at [1, 1] is outside [0, 1]"), "{error}");
    }
    let error = with(2, 3, &[0.5, 0.25, 0.25, 0.5, 0.25, 0.5]).unwrap_err();
    assert!(matches!(error, LossError::PriorNotDistribution { sum: 1.25, .. }), "{error}");
    let none = program.outputs(&HostAlgebra, &statistics(program.plan(), 0.0), &inputs(&loss));
    assert!(matches!(none, Err(LossError::MissingPrior)));
}

#[test]
fn lists_of_classes_must_fit() {
    let refused = |text: &str, classes| match parse(text).program(classes, Detail::Total) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{text} was accepted"),
    };
    assert_eq!(refused("dice(classes=[1, 3])", 3), "dice: classes names class 3, but there are 3 classes, counted from 0");
    // Every term names itself and the option.
    let mut seen = Vec::new();
    for term in loss_core::catalogue() {
        for option in term.options.iter().map(|option| option.name) {
            let (values, message) = match option {
                "classes" => ("[1, 3]", "names class 3, but there are 3 classes, counted from 0"),
                "class_weights" | "target" => {
                    ("[0.5, 0.5]", "has 2 values, but there are 3 classes; give one value for each class")
                }
                _ => continue,
            };
            let name = term.name;
            assert_eq!(refused(&format!("{name}({option}={values})"), 3), format!("{name}: {option} {message}"));
            seen.push(option);
        }
    }
    assert_eq!(["classes", "class_weights", "target"].map(|option| seen.iter().filter(|s| **s == option).count()), [9, 11, 3]);
    assert_eq!(
        refused("l1(target=[0.5, 0.25])", 2),
        "l1: target sums to 0.75, but under softmax the proportions of all classes sum to 1; channels of their own are \
         activation=sigmoid"
    );
    assert_eq!(
        refused("ce(class_weights=[2])", 3),
        "ce: class_weights has 1 value, but there are 3 classes; give one value for each class"
    );
    assert_eq!(
        refused("dice(classes=[1]) with activation=sigmoid", 1),
        "dice: classes names class 1, but there is 1 class, counted from 0"
    );
    for text in ["dice(classes=[0, 2])", "ce(class_weights=[1, 2, 3])", "l1(target=[0.75, 0.25, 5e-7])"] {
        parse(text).program(3, Detail::Total).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
    parse("l1(target=[0.5, 0.25], activation=sigmoid)").program(2, Detail::Total).unwrap();
    parse("dice with activation=sigmoid").program(1, Detail::Total).unwrap();
}

#[test]
fn smoothing_of_any_size_is_honoured() {
    let value = |text: &str, sum: f64| {
        let (loss, program) = (parse(text), program(text, Detail::Total));
        let table = |s: &Statistic| {
            let sum = if *s == Statistic::VALID_SIZE {
                4.0
            } else if *s == Statistic::TARGET_SIZE {
                0.0
            } else {
                sum
            };
            Table::filled(SAMPLES, program.plan().columns(s), sum)
        };
        let statistics: Vec<_> = program.plan().statistics().iter().map(table).collect();
        program.outputs(&HostAlgebra, &statistics, &inputs(&loss)).unwrap().total.values()[0]
    };
    // One `smooth` is both.
    assert_eq!(value("dice(absent=count, smooth=1)", 0.0), 0.0);
    assert_eq!(
        value("dice(absent=count, smooth=0.5)", 3.0),
        value("dice(absent=count, smooth_numerator=0.5, smooth_denominator=0.5)", 3.0)
    );
    for smooth in [1.0, 1e-7, 1e-8, 1e-11, 1e-20, 1e-30] {
        for form in ["linear", "log"] {
            for term in ["dice", "jaccard", "tversky"] {
                let text = format!("{term}(form={form}, absent=count, smooth_numerator={smooth}, smooth_denominator={smooth})");
                assert_eq!(value(&text, 0.0), 0.0, "{text}");
            }
        }
        assert_eq!(value(&format!("log_recall(absent=count, smooth={smooth})"), 0.0), 0.0);
    }
    assert_eq!(value("dice(absent=skip_empty)", 0.0), 0.0);
    assert_eq!(value("dice(absent=skip_empty)", 1.0), value("dice(absent=count)", 1.0));
    // Without smoothing floors stay.
    assert_eq!(value("dice(absent=count)", 0.0), 1.0);
    assert!((value("dice(absent=count, form=log)", 0.0) + 1e-7f64.ln()).abs() < 1e-12);
    let small = "dice(smooth_numerator=1e-31)".parse::<Loss>().unwrap_err().to_string();
    assert_eq!(
        small,
        "at column 6 of `dice(smooth_numerator=1e-31)`: dice: smooth_numerator = 1e-31 is not allowed; expected 0, or a finite number >= 1e-30"
    );
}

#[test]
fn a_perfect_prediction_costs_nothing_with_one_smooth() {
    // Class 0 is predicted as it is, class 1 is neither there nor predicted.
    let row = |s: &Statistic| match s.over {
        loss_core::Over::Valid if *s == Statistic::VALID_SIZE => vec![4.0],
        _ => vec![4.0, 0.0],
    };
    for term in ["dice", "dice(squared=true)", "jaccard", "tversky", "tversky(alpha=0.3, beta=0.7)"] {
        for absent in ["zero", "skip", "skip_empty", "count"] {
            for form in ["linear", "log"] {
                let options = format!("smooth=1, absent={absent}, form={form}");
                let text = match term.strip_suffix(')') {
                    Some(start) => format!("{start}, {options})"),
                    None => format!("{term}({options})"),
                };
                let loss = parse(&text);
                let program = loss.program(2, Detail::Total).unwrap();
                let table = |s: &Statistic| Table::new(1, row(s).len(), row(s)).unwrap();
                let statistics: Vec<Table> = program.plan().statistics().iter().map(table).collect();
                let total = program.outputs(&HostAlgebra, &statistics, &loss.inputs(1, None)).unwrap().total.values()[0];
                assert_eq!(total, 0.0, "{text}");
            }
        }
    }
}

#[test]
fn tables_are_read_with_broadcasting() {
    let table = Table::new(2, 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    assert_eq!([table.get(0, 0), table.get(1, 2), table.get(1, 0)], [Some(1.0), Some(6.0), Some(4.0)]);
    assert_eq!([table.get(2, 0), table.get(0, 3), table.get(2, 3)], [None; 3]);
    let (row, column) = (Table::new(1, 2, vec![1.0, 2.0]).unwrap(), Table::new(2, 1, vec![3.0, 4.0]).unwrap());
    assert_eq!([row.get(7, 1), column.get(1, 7), Table::scalar(5.0).get(7, 7)], [Some(2.0), Some(4.0), Some(5.0)]);
    assert_eq!([row.get(0, 2), column.get(2, 0)], [None; 2]);
    let message = "a table: 5 numbers do not fill the shape [2, 3]";
    assert_eq!(Table::new(2, 3, vec![0.0; 5]).unwrap_err().to_string(), message);
    assert_eq!(Table::filled(2, 2, 7.0).values(), [7.0; 4]);
}

#[test]
fn arrays_that_do_not_fit_are_refused() {
    let program = program("ce + dice", Detail::Total);
    let wrong: Vec<Table> =
        (3..).take(program.plan().statistics().len()).map(|columns| Table::filled(SAMPLES, columns, 1.0)).collect();
    let refused = program.outputs(&HostAlgebra, &wrong, &inputs(&parse("ce + dice"))).unwrap_err();
    assert!(matches!(refused, LossError::Unsupported { what: "operation", .. }), "{refused}");
    // Of no class every sum is 0.
    let sum = HostAlgebra.apply(Op::SumClasses, &[&Table::filled(2, 0, 1.0)]).unwrap();
    assert_eq!(HostAlgebra.apply(Op::Neg, &[&sum]).unwrap().values(), [-0.0; 2]);
    // No samples.
    let refused = program.upstream(&wrong, &Inputs::default(), &[1.0]);
    assert!(matches!(refused, Err(LossError::Unsupported { what: "operation", .. })), "{refused:?}");
    // Twice half of all addresses.
    assert!(matches!(Table::new(usize::MAX / 2 + 1, 2, Vec::new()), Err(LossError::Length { .. })));
    let shape = [1, 2, 1 << 32, 1 << 32];
    let refused = Geometry::new(&shape, (TargetKind::Labels, &[1, 1 << 32, 1 << 32]), None, Activation::Softmax).unwrap_err();
    let text = "logits: shape [1, 2, 4294967296, 4294967296] is not supported; expected no more numbers than can be counted";
    assert_eq!(refused.to_string(), text);
}

#[test]
fn statistics_are_asked_for_once_and_printed_as_symbols() {
    let plan = Plan::new(3, [Statistic::VALID_SIZE, Statistic::TARGET_SIZE, Statistic::VALID_SIZE]).unwrap();
    assert_eq!((plan.classes(), plan.statistics().len()), (3, 2));
    assert_eq!([Statistic::VALID_SIZE, Statistic::TARGET_SIZE].map(|s| plan.columns(&s)), [1, 3]);
    let (softmax, sigmoid) = (Activation::Softmax, Activation::Sigmoid);
    for (statistic, text) in [
        (Statistic::SQUARED_TARGET, "Y2"),
        (Statistic::predicted_size(Probability::new(softmax, Temperature::TEN, Side::Region)), "P(10)"),
        (Statistic::predicted_size(Probability::new(sigmoid, Temperature::ONE, Side::Background)), "P'σ"),
        (Statistic::intersection(Probability::new(softmax, Temperature::ONE, Side::Region)), "I"),
        (Statistic::squared_mass(sigmoid), "Qσ"),
        (Statistic::log_likelihood(sigmoid, Side::Background), "L'σ"),
        (Statistic::log_mass(softmax, Side::Region), "A"),
    ] {
        assert_eq!(statistic.to_string(), text);
    }
}

/// Names a sum of what it is told.
struct OwnTerm<const VALID: bool>;

impl<const VALID: bool> RegionSizePenalty for OwnTerm<VALID> {
    fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar> {
        let size = if VALID { sizes.predicted(Temperature::ONE) } else { sizes.target() };
        size.sum_classes().sum_samples()
    }
}

struct X;

impl GroundTruthMatching for X {
    fn matching(&self, truth: &InsideTruth) -> Expr<Scalar> {
        truth.target_size().sum_classes().sum_samples()
    }
}

impl Overlap for X {
    fn overlap(&self, regions: &AllRegions) -> Expr<Scalar> {
        RegionSizePenalty::penalty(self, &regions.sizes())
    }

    fn decompose(&self, regions: &AllRegions) -> Decomposition {
        Decomposition::size(self.overlap(regions))
    }
}

impl RegionSizePenalty for X {
    fn penalty(&self, sizes: &RegionSizes) -> Expr<Scalar> {
        (sizes.classes() as f64 * sizes.given()).sum_classes().sum_samples()
    }
}

#[test]
fn a_term_of_ones_own_is_named_after_its_type_and_sees_sizes() {
    let value = |loss: &Loss, prior| {
        let program = loss.program(CLASSES, Detail::Total).unwrap();
        program.outputs(&HostAlgebra, &statistics(program.plan(), 0.0), &loss.inputs(SAMPLES, prior)).unwrap().total.values()[0]
    };
    let (predicted, target, x) = (penalty(OwnTerm::<true>), penalty(OwnTerm::<false>), penalty(X));
    assert_eq!([&predicted, &target, &x].map(ToString::to_string), ["own_term", "own_term", "x"]);
    assert_eq!((matching(X) + overlap(X)).to_string(), "x + x");
    assert_eq!((value(&predicted, None), value(&target, None)), (2.0, 2.0));
    assert_eq!(value(&x, Some(Table::new(1, 3, vec![0.5, 0.25, 0.25]).unwrap())), 3.0);
}

#[test]
fn a_class_that_is_neither_true_nor_predicted_has_no_dice() {
    let text = "dice(absent=skip_empty)";
    let (loss, program) = (parse(text), program(text, Detail::Parts));
    // Class 0 is true and predicted, class 1 predicted alone, class 2 neither.
    let table = |s: &Statistic| {
        let row: &[f64] = match s {
            Statistic { over: Over::Valid, of: Quantity::One, .. } => &[4.0],
            Statistic { of: Quantity::Mass(_), over: Over::Valid, .. } => &[3.0, 1.0, 0.0],
            _ => &[3.0, 0.0, 0.0],
        };
        Table::new(1, row.len(), row.to_vec()).unwrap()
    };
    let statistics: Vec<_> = program.plan().statistics().iter().map(table).collect();
    let inputs = loss.inputs(1, None);
    let evaluation = program.evaluate(&statistics, &inputs).unwrap();
    let [true_and_predicted, predicted, neither] = [0, 1, 2].map(|class: usize| evaluation.regions[class].dice);
    assert_eq!((true_and_predicted, predicted), (1.0, 0.0));
    assert!(neither.is_nan());
    assert_eq!(evaluation.total, 0.5);
}
