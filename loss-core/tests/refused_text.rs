//! Losses as text: what is refused, and in which words.

use loss_core::{Detail, Loss, Schedule, catalogue, overlap, spec};

fn parse(text: &str) -> Loss {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    match text.parse::<Loss>() {
        Err(error) => error.to_string(),
        Ok(loss) => panic!("{text} reads as {loss}"),
    }
}

#[test]
fn mistakes_are_named() {
    for (text, message) in [
        ("", "at column 1 of ``: expected a loss, a number or `(`, found the end"),
        ("ce +", "at column 5 of `ce +`: expected a loss, a number or `(`, found the end"),
        ("ce dice", "at column 4 of `ce dice`: expected `+`, `-`, `*`, `with` or the end, found `dice`"),
        ("ce * dice", "at column 6 of `ce * dice`: expected a number: two losses cannot be multiplied, found `dice`"),
        ("0.5", "at column 4 of `0.5`: expected `*` and a loss, found the end"),
        ("l1(temperature 10)", "at column 16 of `l1(temperature 10)`: expected `=`, found `10`"),
        ("ce & dice", "at column 4 of `ce & dice`: expected a name, a number or one of + - * ( ) [ ] , =, found `&`"),
        ("1e999 * ce", "at column 1 of `1e999 * ce`: expected a finite number, found `1e999`"),
        (
            "dice(smooth=1, smooth=2)",
            "at column 16 of `dice(smooth=1, smooth=2)`: expected what was not given before, found `smooth`",
        ),
        (
            "ce with ignore=1, ignore=2",
            "at column 19 of `ce with ignore=1, ignore=2`: expected what was not given before, found `ignore`",
        ),
        (
            "grow(1, cap=2, cap=3) * ce",
            "at column 16 of `grow(1, cap=2, cap=3) * ce`: expected what was not given before, found `cap`",
        ),
        ("ce with ignore=1.5", "at column 16 of `ce with ignore=1.5`: expected whole numbers, found `1.5`"),
        ("ce with ignore=none", "at column 16 of `ce with ignore=none`: expected a label or a list of labels, found `none`"),
        ("ce with epoch=-1", "at column 15 of `ce with epoch=-1`: expected an epoch, a whole number >= 0, found `-`"),
        ("ce with epoch=all", "at column 15 of `ce with epoch=all`: expected an epoch, a whole number >= 0, found `all`"),
        ("ce with ignore=2e15", "at column 16 of `ce with ignore=2e15`: expected whole numbers, found `2e15`"),
        ("ce with activation=no", "at column 20 of `ce with activation=no`: expected softmax or sigmoid, found `no`"),
        (
            "grow(1) * grow(2) * l1",
            "grow: factor = grow(2, factor=1, every=1, cap=100) is not allowed; expected a number: the weight of this term grows already",
        ),
    ] {
        assert_eq!(error(text), message, "{text}");
    }
    let nested = |levels| "(".repeat(levels) + "ce" + &")".repeat(levels);
    assert_eq!(parse(&nested(63)), parse("ce"));
    for levels in [64, 5000] {
        assert!(error(&nested(levels)).contains("fewer nested parentheses"));
    }
    assert_eq!(parse(&["(ce)"; 200].join("+")).terms().len(), 200);
    for unfit in [f64::INFINITY, f64::NAN] {
        for [initial, factor, every, cap] in
            [[unfit, 1.0, 1.0, f64::MAX], [1.0, unfit, 1.0, 1.0], [1.0, 1.0, unfit, 1.0], [1.0, 1.0, 1.0, unfit]]
        {
            assert!(Schedule::grow(initial, factor, every, cap).is_err(), "{initial} {factor} {every} {cap}");
        }
    }
}

/// Found by a seed of a fuzz target: it was read, and written as `inf`, which does not read.
#[test]
fn weights_whose_product_is_not_finite_are_refused() {
    for (text, column, found) in [
        ("1e308 * 1e308 * ce", 1, "1e308"),
        ("ce - 1e200 * (dice + 1e200 * l1)", 6, "1e200"),
        ("-1e308 * grow(2) * dice(classes=[1, 2])", 1, "-"),
        ("ce + (1e10 * grow(0, cap=1e300) * l1)", 7, "1e10"),
    ] {
        let message = format!("at column {column} of `{text}`: expected weights whose product is finite, found `{found}`");
        assert_eq!(error(text), message);
    }
    assert_eq!(parse("0 * 1e308 * 1e308 * ce").to_string(), "0 * ce");
    assert_eq!(parse("1e-308 * 1e-308 * ce").to_string(), "0 * ce");
}

/// Comparing takes memory with the square of a name's length.
#[test]
fn names_that_are_far_too_long_are_compared_with_none() {
    assert!(error(&"ce".repeat(64)).contains("; write `ce + ce + "));
    for name in ["ce".repeat(65), "ce".repeat(1 << 20), "dice_".repeat(1 << 18)] {
        let message = error(&name);
        assert!(message.contains("`; known are ce, focal, topk, "), "{}", &message[message.len() - 200..]);
        let option = error(&format!("ce({name}=1)"));
        assert!(
            option.ends_with("`; known are class_weights, label_smoothing, pooling, activation"),
            "{}",
            &option[option.len() - 200..]
        );
    }
}

#[test]
fn mistakes_in_terms_are_named_with_their_column() {
    for (text, column, message) in [
        ("dcie", 1, "unknown loss `dcie`; did you mean `dice`?"),
        ("ce + logdise", 6, "unknown loss `logdise`; did you mean `log_dice`?"),
        (
            "zzzzzzzz",
            1,
            "unknown loss `zzzzzzzz`; known are ce, focal, topk, log_recall, l1, kl, db, dice, gdice, tversky, jaccard, boundary, cross_entropy, \
             dice_bias, log_dice, generalized_dice",
        ),
        ("dice(smoth_numerator=1)", 6, "dice has no option `smoth_numerator`; did you mean `smooth_numerator`?"),
        ("l1(temperature=0)", 4, "l1: temperature = 0 is not allowed; expected a number in (0, 1e6]"),
        ("focal(gamma=-1)", 7, "focal: gamma = -1 is not allowed; expected a number in [0, 100]"),
        ("focal(alpha=1.5)", 7, "focal: alpha = 1.5 is not allowed; expected a number in [0, 1]"),
        ("ce(label_smoothing=2)", 4, "ce: label_smoothing = 2 is not allowed; expected a share in [0, 1]"),
        (
            "ce(class_weights=[-1, 1])",
            4,
            "ce: class_weights = [-1.0, 1.0] is not allowed; expected weights of 0 to 1e100, one of them above 0",
        ),
        ("dice(absent=maybe)", 6, "dice: absent = maybe is not allowed; expected zero, skip, skip_empty or count"),
        ("dice(classes=[0.5])", 6, "dice: classes = [0.5] is not allowed; expected all or a list of class indices, [1, 2, ..]"),
        (
            "dice(squared=true, temperature=2)",
            6,
            "dice: squared = true is not allowed; expected false at another temperature than 1",
        ),
        ("tversky(alpha=0, beta=0)", 18, "tversky: beta = 0 is not allowed; expected a number above 0 where alpha is 0"),
        ("l1(target=[0.5, 2])", 4, "l1: target = [0.5, 2.0] is not allowed; expected proportions in [0, 1], one per class"),
        ("grow(1, factor=0.5) * l1", 9, "grow: factor = 0.5 is not allowed; expected a finite number >= 1"),
        ("grow(5, cap=2) * l1", 9, "grow: cap = 2 is not allowed; expected a finite number not below the initial weight"),
        ("ce with é=1", 9, "with has no option `é`; known are activation, ignore, epoch"),
        ("ce with actuation=softmax", 9, "with has no option `actuation`; did you mean `activation`?"),
        ("focal(alpha=all)", 7, "focal: alpha = all is not allowed; expected a number or none"),
        (
            "ce(class_weights=all)",
            4,
            "ce: class_weights = all is not allowed; expected none or a list of one number per class, [a, b, ..]",
        ),
        ("dice(classes=none)", 6, "dice: classes = none is not allowed; expected all or a list of class indices, [1, 2, ..]"),
        ("dice(classes=[-1])", 6, "dice: classes = [-1] is not allowed; expected all or a list of class indices, [1, 2, ..]"),
        ("dice(classes=[1, 1])", 6, "dice: classes = [1, 1] is not allowed; expected a list of different class indices"),
        ("dice(classes=[])", 6, "dice: classes = [] is not allowed; expected a list of different class indices"),
        (
            "l1(target=all)",
            4,
            "l1: target = all is not allowed; expected truth, given, or a list of one proportion per class, [a, b, ..]",
        ),
        ("l1(epsilon=2)", 4, "l1: epsilon = 2 is not allowed; expected a number in [0, 1]"),
        (
            "ce(class_weights=[0, 0])",
            4,
            "ce: class_weights = [0.0, 0.0] is not allowed; expected weights of 0 to 1e100, one of them above 0",
        ),
        ("grow(1, every=1.5) * l1", 9, "grow: every = 1.5 is not allowed; expected a whole number of epochs >= 1"),
        ("grow(1, every=0) * l1", 9, "grow: every = 0 is not allowed; expected a whole number of epochs >= 1"),
        ("grow(-1) * l1", 1, "grow: initial = -1 is not allowed; expected a finite number >= 0"),
        (
            "ce(class_weights=[1, 1e101])",
            4,
            "ce: class_weights = [1.0, 1e101] is not allowed; expected weights of 0 to 1e100, one of them above 0",
        ),
        ("grow(1, rate=2) * l1", 9, "grow has no option `rate`; known are factor, every, cap"),
        ("grow(1, evry=2) * l1", 9, "grow has no option `evry`; did you mean `every`?"),
        ("DiceLoss", 1, "unknown loss `DiceLoss`; did you mean `dice`?"),
    ] {
        assert_eq!(error(text), format!("at column {column} of `{text}`: {message}"));
    }
    // In a longer text: at the term, or at the option.
    for (text, place) in [
        ("ce + 0.5 * (dice + dcie)", "dcie"),
        ("focal(gamma=1) + focal(alpha=0.5, gamma=-1)", "gamma=-1"),
        ("é1 + ce", "é1"),
        ("ce with epoch=2, ignored=3", "ignored"),
    ] {
        let column = text[..text.find(place).unwrap()].chars().count() + 1;
        assert!(error(text).starts_with(&format!("at column {column} of `{text}`: ")), "{}", error(text));
    }
}

#[test]
fn words_of_other_libraries_name_what_to_write_here() {
    for (text, message) in [
        ("dice_ce", "unknown loss `dice_ce`; write `ce + dice`"),
        ("DiceCELoss", "unknown loss `DiceCELoss`; write `ce + dice`"),
        ("ce_dice", "unknown loss `ce_dice`; write `ce + dice`"),
        ("dicece", "unknown loss `dicece`; write `ce + dice`"),
        ("DC_and_CE_loss", "unknown loss `DC_and_CE_loss`; write `ce + dice`"),
        ("dicefocal", "unknown loss `dicefocal`; write `focal + dice`"),
        ("softdice", "unknown loss `softdice`; write `dice`"),
        ("soft_dice", "unknown loss `soft_dice`; write `dice`"),
        ("SoftDiceLoss", "unknown loss `SoftDiceLoss`; write `dice`"),
        ("iou", "unknown loss `iou`; write `jaccard`"),
        ("bce", "unknown loss `bce`; write `ce with activation=sigmoid`"),
        ("bce_dice", "unknown loss `bce_dice`; write `ce + dice with activation=sigmoid`"),
        ("lovasz", "unknown loss `lovasz`; there is no Lovász loss here; nearest is `jaccard`, which has the same goal"),
        (
            "focal_tversky",
            "unknown loss `focal_tversky`; there is no power of a score here; nearest is `tversky(alpha=0.3, beta=0.7)`, or its \
             logarithm, form=log",
        ),
        // Put together of names, a slip in a word of others, and a name inside of another.
        ("ce_jaccard", "unknown loss `ce_jaccard`; write `ce + jaccard`"),
        ("tversky_and_bce", "unknown loss `tversky_and_bce`; write `tversky + ce with activation=sigmoid`"),
        (
            "dice_lovasz",
            "unknown loss `dice_lovasz`; there is no Lovász loss here; nearest is `jaccard`, which has the same goal",
        ),
        ("dise_ce", "unknown loss `dise_ce`; write `ce + dice`"),
        (
            "ce(weight=[1, 2])",
            "ce has no option `weight`; write `class_weights=[0.2, 1]`: one weight for each class; the weight of \
          a term stands before it, `0.5 * dice`",
        ),
        (
            "dice(include_background=false)",
            "dice has no option `include_background`; write `classes=[1, 2]`: the classes that count; \
          without 0 the background does not",
        ),
        (
            "ce(include_background=false)",
            "ce has no option `include_background`; write `class_weights=[0, 1, 1]`: a weight of 0 \
          leaves a class out",
        ),
        (
            "dice(reduction=mean)",
            "dice has no option `reduction`; a term is a mean: pooling=batch or pooling=sample says of what, \
          a number before the term (`100 * dice`) makes it a sum, and `elements` gives the values before the mean",
        ),
        ("dice(smooth_nr=1)", "dice has no option `smooth_nr`; write `smooth_numerator=1e-5`"),
        ("dice(eps=1)", "dice has no option `eps`; write `smooth=1`: pixels added to numerator and denominator"),
        (
            "ce(smooth=0.1)",
            "ce has no option `smooth`; write `label_smoothing=0.1`: a share of the target that is spread evenly",
        ),
        ("gdice(smooth=1)", "gdice has no option `smooth`; it has no smoothing: its sums are floored at 1e-7"),
        ("dice(batch=true)", "dice has no option `batch`; write `pooling=batch`: or pooling=sample, which is batch=false"),
        ("dice(squared_pred=true)", "dice has no option `squared_pred`; write `squared=true`"),
        (
            "tversky(gamma=0.75)",
            "tversky has no option `gamma`; there is no power of a score here; gamma is an option of `focal`",
        ),
        (
            "dice(label_smoothing=0.1)",
            "dice has no option `label_smoothing`; label smoothing is Cross-Entropy's: \
          `ce(label_smoothing=0.1)`",
        ),
        (
            "dice(to_onehot_y=true)",
            "dice has no option `to_onehot_y`; leave it out: labels are read as they are, without a one-hot \
          array",
        ),
        (
            "focal(pos_weight=2)",
            "focal has no option `pos_weight`; a weight a of true pixels is \
          `a * focal(gamma=0, alpha=1) + focal(gamma=0, alpha=0)`",
        ),
        (
            "dice(ignore_index=255)",
            "dice has no option `ignore_index`; it is for the whole loss: put `with ignore=255` at its end",
        ),
        ("dice(smoth=1)", "dice has no option `smoth`; did you mean `smooth`?"),
    ] {
        let column = text.find('(').map_or(1, |at| at + 2);
        assert_eq!(error(text), format!("at column {column} of `{text}`: {message}"));
    }
    let setting = "ce with ignore_index=255";
    assert_eq!(error(setting), format!("at column 9 of `{setting}`: with has no option `ignore_index`; write `ignore=255`"));
    // Half of what was meant is no suggestion.
    for text in ["dice_x2", "xxce", "l2", "cedb", "kd"] {
        let error = error(text);
        assert!(!error.contains("did you mean"), "{error}");
    }
}

#[test]
fn what_is_advised_reads() {
    let known: Vec<&str> = catalogue().iter().map(|doc| doc.name).collect();
    for word in spec::words(spec::WordsFor::Terms) {
        assert!(!word.write.is_empty() || !word.remark.is_empty(), "{word:?}");
        for name in word.names {
            assert!(!known.contains(name), "{name} is a name here");
            assert!(name.parse::<Loss>().is_err(), "{name} reads");
        }
        // What a remark puts between backticks is a loss as well.
        let quoted = word.remark.split('`').skip(1).step_by(2);
        for text in quoted.chain([word.write]).filter(|text| !text.is_empty()) {
            parse(text);
        }
    }
    for word in spec::words(spec::WordsFor::Options) {
        let has = |doc: &spec::TermDoc| word.with.is_empty() || doc.options.iter().any(|option| option.name == word.with);
        let terms: Vec<spec::TermDoc> = catalogue().into_iter().filter(has).collect();
        assert!(!terms.is_empty(), "no term has {}", word.with);
        for doc in terms {
            let text = format!("{}({})", doc.name, word.write);
            // Numbers of classes are looked at when the loss meets its logits.
            assert!(word.write.is_empty() || text.parse::<Loss>().is_ok(), "{text}: {:?}", text.parse::<Loss>().err());
        }
    }
}

#[test]
fn text_from_outside_is_shown_without_its_control_characters() {
    let shown = |text: &str| error(text);
    assert_eq!(
        shown("ce\n+ \u{1b}[31m"),
        r"at column 6 of `ce\n+ \u{1b}[31m`: expected a name, a number or one of + - * ( ) [ ] , =, found `\u{1b}`"
    );
    assert_eq!(shown("ce +\ndice("), r"at column 11 of `ce +\ndice(`: expected the name of an option, found the end");
}

#[test]
fn smooth_is_both_and_stands_alone() {
    assert_eq!(parse("dice(smooth=1)").to_string(), "dice(smooth=1)");
    let both = "expected neither smooth_numerator nor smooth_denominator beside it: it is both";
    for other in ["smooth_numerator=1", "smooth_denominator=2", "smooth_numerator=0"] {
        for term in ["dice", "jaccard", "tversky"] {
            for text in [format!("{term}(smooth=1, {other})"), format!("{term}({other}, smooth=1)")] {
                assert!(error(&text).ends_with(&format!("{term}: smooth = 1 is not allowed; {both}")), "{}", error(&text));
            }
        }
    }
    let built = overlap::Dice::new().smooth(1.0).and_then(|dice| dice.smooth_numerator(2.0)).unwrap_err().to_string();
    assert_eq!(built, format!("dice: smooth = 1 is not allowed; {both}"));
    assert_eq!(
        error("dice(smooth=-1)"),
        "at column 6 of `dice(smooth=-1)`: dice: smooth = -1 is not allowed; expected 0, or a finite number >= 1e-30"
    );
}

#[test]
fn what_does_not_fit_the_activation_is_refused_when_used() {
    let refused = |text: &str, classes| match parse(text).program(classes, Detail::Total) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{text} was accepted"),
    };
    assert_eq!(
        refused("focal(alpha=0.25, activation=softmax)", 3),
        "focal: alpha is not defined for softmax; leave it out, or give the term activation=sigmoid"
    );
    assert_eq!(refused("dice", 1), "softmax needs at least two classes, got 1; a single channel is binary: use sigmoid");
    assert_eq!(Loss::default().program(3, Detail::Total).unwrap_err().to_string(), "the loss has no terms");
    let weight = (f64::NAN * parse("ce")).program(3, Detail::Total).unwrap_err().to_string();
    assert_eq!(weight, "the weight NaN of a term is not finite");
}
