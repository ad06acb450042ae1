//! A report of a backend that is wrong says so, everywhere.

use std::sync::Mutex;

use loss_core::{Evaluation, Loss, LossError};

use super::{Report, halvings, run, short};
use crate::adapters::Ndarray;
use crate::suite::Selection;
use crate::{Adapter, Dtype, Input, Output};

/// One loss, which no other contains.
const LOSS: &str = "tversky(alpha=1.5, beta=0.25, form=log, pooling=sample)";

/// `backend-ndarray` with another total for it in f64, and what its ledger says of that.
struct Wrong(&'static str);

impl Adapter for Wrong {
    fn name(&self) -> &'static str {
        "<wrong>"
    }

    fn versions(&self) -> String {
        "a & b".to_owned()
    }

    fn known_differences(&self) -> &'static str {
        self.0
    }

    fn value_and_gradient(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Output, LossError> {
        let mut output = Ndarray.value_and_gradient(loss, input, dtype)?;
        if loss.to_string().contains("form=log") && dtype == Dtype::F64 && !input.strided {
            output.total += 1e-3;
        }
        Ok(output)
    }

    fn evaluate(&self, loss: &Loss, input: &Input, dtype: Dtype) -> Result<Evaluation, LossError> {
        Ndarray.evaluate(loss, input, dtype)
    }
}

fn selection() -> Selection {
    Selection { loss: Some(LOSS.to_uppercase()), dtypes: vec![Dtype::F64, Dtype::Bf16], quick: true }
}

fn report(adapters: &[&dyn Adapter]) -> Report {
    run(adapters, &selection(), &|_| {}).unwrap()
}

fn parsed(report: &Report) -> serde_json::Value {
    serde_json::to_value(report).unwrap()
}

#[test]
fn a_sound_backend() {
    let seen = Mutex::new(Vec::new());
    let report = run(&[&Ndarray], &selection(), &|p| seen.lock().unwrap().push((p.done, p.of))).unwrap();
    assert!(report.agrees() && report.failures.is_empty() && report.pairs.is_empty());
    let ran = report.backends[0].ran;
    let mut seen = seen.into_inner().unwrap();
    seen.sort_unstable();
    assert_eq!(seen, (1..=ran).map(|done| (done, ran)).collect::<Vec<_>>());
    assert!(report.backends[0].declared > 20 * ran && report.backends[0].versions.starts_with("ndarray 0."));
    assert_eq!(report.verdict(), format!("1 backend in {ran} tests agree with the oracle"));
    // A loss for two types; every case passes at its tolerance, and fewer at each half.
    assert_eq!(report.cells.iter().map(|cell| cell.cases).sum::<usize>(), ran);
    for standing in &report.standing {
        assert_eq!(standing.passing[0], standing.cases);
        assert!(standing.passing.is_sorted_by(|a, b| a >= b), "{standing:?}");
    }
    // The rounding of a stored gradient shows, and its values do not have it.
    let stand = |numbers: &str| {
        parsed(&report)["standing"]
            .as_array()
            .unwrap()
            .iter()
            .find(|s| s["dtype"] == "bf16" && s["numbers"] == numbers)
            .unwrap()["passing"][1]
            .as_u64()
            .unwrap()
    };
    assert!(stand("all") < stand("values") && stand("all") == stand("gradient"));
}

#[test]
fn a_wrong_backend_is_marked() {
    let report = report(&[&Ndarray, &Wrong("")]);
    let [sound, wrong] = report.backends.as_slice() else { panic!("two backends") };
    assert!(!report.agrees());
    assert_eq!(sound.failed, 0);
    assert!(wrong.failed > 20 && wrong.failed == report.failures.len());
    // All but the strided one, in one type; the pair sees the same.
    let cell = |dtype| report.cells.iter().find(|c| c.backend == "<wrong>" && c.dtype == dtype).unwrap();
    assert_eq!((cell(Dtype::F64).cases - cell(Dtype::F64).failed, cell(Dtype::Bf16).failed), (1, 0));
    let worst = cell(Dtype::F64).worst.as_ref().unwrap();
    assert!(worst.measured.over() && worst.measured.what == "total", "{worst}");
    assert_eq!(report.pairs[0].disagreements.len(), wrong.failed);
    assert_eq!(report.pairs[0].cases, wrong.ran);
    assert!(report.failures[0].message.starts_with("total: at 0 got "), "{:?}", report.failures[0]);
    let failed = wrong.failed;
    let verdict = format!("{failed} of {} tests failed, backends are apart in {failed} comparisons", report.ran());
    assert_eq!(report.verdict(), verdict);

    let html = report.html();
    assert!(html.contains(&format!("<p class=\"verdict bad\">✗ {verdict}</p>")));
    assert_eq!(html.matches("class=\"first over\" title=").count(), 1);
    assert_eq!(html.matches(&format!("<li><strong>&lt;wrong&gt;</strong> <code>{LOSS}/")).count(), failed);
    assert_eq!(html.matches(&format!("<li><strong>ndarray and &lt;wrong&gt;</strong> <code>{LOSS}/")).count(), failed);
    assert!(html.contains("<td>a &amp; b</td>") && !html.contains("<wrong>"));
    assert!(!html.contains("http:") && !html.contains("https:") && !html.contains("<script"));

    let json = parsed(&report);
    assert_eq!(json["failures"].as_array().unwrap().len(), failed);
    assert_eq!(json["backends"][1]["worst"]["loss"], LOSS);
    assert_eq!(json["backends"][1]["worst"]["dtype"], "f64");
    assert!(json["cells"].as_array().unwrap().iter().any(|cell| cell["worst"]["times"].as_f64() > Some(1.0)));
}

#[test]
fn what_a_ledger_knows_is_no_failure() {
    // The strided case and all of bf16 pass, so that the ledger says too much.
    const LEDGER: &str = "\
        tversky(alpha=1.5, beta=0.25, form=log, pooling=sample)/softmax/* | a total of its own\n\
        tversky(alpha=1.5, beta=0.25, form=log, pooling=sample)/sigmoid/* | the same";
    let report = report(&[&Ndarray, &Wrong(LEDGER)]);
    let unexpected = |f: &&super::Failure| f.message.starts_with("it passes, but the ledger expects it to fail");
    assert_eq!(report.failures.iter().filter(unexpected).count(), report.failures.len());
    assert!(report.failures.iter().any(|failure| failure.test == format!("{LOSS}/softmax/strided/f64")));
    assert!(report.known.len() > 20 && report.known.iter().any(|known| known.message == "a total of its own"));
    assert_eq!(report.disagreements(), 0);
    assert!(report.html().contains("<h2>Known differences</h2>"));

    let idle = run(&[&Wrong("nothing/of/the/kind | x")], &selection(), &|_| {});
    assert_eq!(idle.unwrap_err(), "<wrong>: the ledger names `nothing/of/the/kind`, which is no test");
}

#[test]
fn halves_and_words() {
    let cases =
        [(0.0, Some(10)), (1e-9, Some(10)), (0.1, Some(3)), (0.5, Some(1)), (0.6, Some(0)), (1.0, Some(0)), (1.1, None)];
    for (times, halved) in cases {
        assert_eq!(halvings(times), halved, "{times}");
    }
    assert_eq!(halvings(f64::INFINITY), None);
    let texts =
        [(0.0, "0"), (0.734, "0.73"), (0.0123, "0.01"), (16.77, "17"), (3.2e-5, "3e-5"), (123.0, "1e2"), (f64::INFINITY, "∞")];
    for (times, text) in texts {
        assert_eq!(short(times), text);
    }
}
