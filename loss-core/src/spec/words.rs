//! Words that people know from other libraries, and what to write here instead.

use super::describe::has_key;

/// Names from other libraries, and what stands for them here.
///
/// [`words`] lists them all; an unknown name in a text is looked up among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The names, the same in any case and with or without underscores; of terms also with `loss`
    /// behind them.
    pub names: &'static [&'static str],
    /// The option that a term must have for the advice to hold; empty for names of terms, and where
    /// it holds for any term.
    pub with: &'static str,
    /// What to write instead; empty where nothing here is the same.
    pub write: &'static str,
    /// What else there is to know.
    pub remark: &'static str,
}

/// Whether words are names of terms or of options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordsFor {
    /// `dice_ce`
    Terms,
    /// `include_background`
    Options,
}

/// The names that other libraries have for terms or options.
///
/// ```
/// use loss_core::spec::{WordsFor, words};
/// let all = words(WordsFor::Terms);
/// let of = |name: &str| all.iter().find(|word| word.names.contains(&name)).unwrap();
/// assert_eq!(of("dice_ce").write, "ce + dice");
/// assert_eq!(of("lovasz").write, "");   // there is nothing like it
/// ```
#[must_use]
pub const fn words(of: WordsFor) -> &'static [Word] {
    match of {
        WordsFor::Terms => TERMS,
        WordsFor::Options => OPTIONS,
    }
}

impl Word {
    /// The advice as the rest of a sentence.
    pub(super) fn advice(&self) -> String {
        match (self.write, self.remark) {
            ("", remark) => remark.to_owned(),
            (write, "") => format!("write `{write}`"),
            (write, remark) => format!("write `{write}`: {remark}"),
        }
    }

    pub(super) fn is(&self, key: &str) -> bool {
        self.names.iter().any(|name| has_key(name, key))
    }
}

macro_rules! table {
    ($($names:tt, $with:literal => $write:literal, $remark:literal;)*) => {
        &[$(Word { names: &$names, with: $with, write: $write, remark: $remark },)*]
    };
}

const TERMS: &[Word] = table! {
    ["dice_ce", "ce_dice", "dc_ce", "dc_and_ce", "dice_cross_entropy", "combo", "compound"], "" => "ce + dice", "";
    ["dice_bce", "bce_dice", "dc_and_bce"], "" => "ce + dice with activation=sigmoid", "";
    ["dice_focal", "focal_dice", "dc_and_focal"], "" => "focal + dice", "";
    ["dice_topk", "dc_and_topk"], "" => "topk + dice", "";
    ["gdice_focal", "generalized_dice_focal", "generalised_dice_focal"], "" => "focal + gdice", "";
    ["dice_boundary", "dc_and_bd"], "" => "dice + 0.01 * boundary", "";
    ["soft_dice", "memory_efficient_soft_dice", "dice_coefficient", "dice_coef", "dsc", "dc", "f1", "f_score"], ""
        => "dice", "";
    ["squared_dice", "vnet_dice", "dice_squared"], "" => "dice(squared=true)", "";
    ["batch_dice"], "" => "dice(pooling=batch)", "";
    ["generalised_dice", "gdl", "generalized_dice_score"], "" => "gdice", "";
    ["iou", "soft_iou", "soft_jaccard", "miou", "jaccard_index", "jaccard_distance"], "" => "jaccard", "";
    ["log_iou", "log_jaccard"], "" => "jaccard(form=log)", "";
    ["log_tversky"], "" => "tversky(form=log)", "";
    ["soft_tversky", "tversky_index"], "" => "tversky", "";
    ["xent", "softmax_cross_entropy", "categorical_crossentropy", "sparse_categorical_crossentropy", "nll", "log_loss",
     "robust_cross_entropy"], "" => "ce", "";
    ["soft_cross_entropy", "soft_ce", "smooth_ce", "label_smoothing"], "" => "ce(label_smoothing=0.1)", "";
    ["weighted_ce", "wce", "weighted_cross_entropy", "balanced_ce"], ""
        => "ce(class_weights=[0.2, 1])", "one weight for each class";
    ["bce", "bce_with_logits", "binary_cross_entropy", "binary_cross_entropy_with_logits", "binary_crossentropy",
     "sigmoid_cross_entropy", "sigmoid_binary_cross_entropy", "soft_bce", "soft_bce_with_logits"], ""
        => "ce with activation=sigmoid", "";
    ["sigmoid_focal", "binary_focal"], "" => "focal", "";
    ["softmax_focal", "categorical_focal"], "" => "focal(activation=softmax)", "";
    ["ohem", "ohem_ce", "hard_example_mining", "topk_ce", "bootstrapped_ce"], ""
        => "topk(fraction=0.1)", "the hardest tenth of the pixels";
    ["surface", "boundary_distance", "bd"], "" => "boundary", "";
    ["volume", "size", "proportion", "area"], "" => "l1", "the mean distance of predicted from wanted proportions";
    ["kl_div", "kullback_leibler"], "" => "kl", "it compares proportions of regions; pixel by pixel, `ce` is the same up to a constant";
    ["focal_tversky", "asymmetric_focal_tversky"], ""
        => "", "there is no power of a score here; nearest is `tversky(alpha=0.3, beta=0.7)`, or its logarithm, form=log";
    ["unified_focal", "asymmetric_unified_focal"], ""
        => "", "there is no power of a score here; nearest is `focal + tversky(alpha=0.3, beta=0.7)`";
    ["asymmetric_focal"], ""
        => "0.35 * focal(gamma=0, alpha=1) + 0.15 * focal(gamma=2, alpha=0)", "that is MONAI's with its defaults, for one sigmoid channel";
    ["lovasz", "lovasz_softmax", "lovasz_hinge"], "" => "", "there is no Lovász loss here; nearest is `jaccard`, which has the same goal";
    ["hausdorff", "hausdorff_dt", "hausdorff_er", "log_hausdorff", "log_hausdorff_dt", "hd", "hdt"], ""
        => "", "there is no Hausdorff loss here; nearest is `boundary`, beside a term of regions such as `dice`";
    ["cldice", "soft_cldice", "dice_cldice", "soft_dice_cldice", "skeleton"], ""
        => "", "there is no loss of skeletons here; nearest is `dice`, which does not see how thin parts hang together";
    ["mcc", "matthews"], "" => "", "there is no loss with true negatives here; nearest are `dice` and `ce`";
    ["wasserstein_dice", "generalized_wasserstein_dice"], ""
        => "", "there is no distance between classes here; nearest is `dice`, for which all classes are equally far apart";
    ["sensitivity_specificity", "ss"], ""
        => "", "there is none here; nearest is `tversky`, whose alpha and beta weigh false positives and false negatives";
    ["poly", "poly_loss", "poly1"], "" => "", "there is none here; nearest are `ce` and `focal`";
    ["exp_log", "exponential_logarithmic"], "" => "", "there is no power of a logarithm here; nearest is `ce + dice(form=log)`";
    ["nacl"], "" => "", "there is no loss of neighbouring pixels here; nearest is `ce(label_smoothing=0.1)`";
    ["mse", "l2", "mae", "smooth_l1", "huber", "brier"], ""
        => "", "there is no loss of differences of pixels here; nearest is `ce`, and `l1` is of proportions of regions";
    ["ssim", "ms_ssim"], "" => "", "there is no loss of image structure here; nearest is `jaccard`";
    ["deep_supervision", "multi_scale"], "" => "", "it is no loss of its own: evaluate one on each scale, and add the totals";
};

const OPTIONS: &[Word] = table! {
    ["weight", "weights", "class_weight", "ce_weight", "w"], "class_weights"
        => "class_weights=[0.2, 1]", "one weight for each class; the weight of a term stands before it, `0.5 * dice`";
    ["weight", "weights", "class_weight", "class_weights", "w", "w_type", "weight_type"], "weighting"
        => "weighting=simple", "classes are weighed by their size: square, simple or uniform";
    ["pos_weight"], "gamma"
        => "", "a weight a of true pixels is `a * focal(gamma=0, alpha=1) + focal(gamma=0, alpha=0)`";
    ["pos_weight"], ""
        => "", "a weight a of true pixels is `a * focal(gamma=0, alpha=1) + focal(gamma=0, alpha=0)`, under sigmoid in place of ce";
    ["smooth_nr", "smooth_num", "numerator"], "smooth_numerator" => "smooth_numerator=1e-5", "";
    ["smooth_dr", "smooth_den", "denominator"], "smooth_denominator" => "smooth_denominator=1e-5", "";
    ["eps", "epsilon", "smoothing", "laplace", "smooth_factor"], "smooth"
        => "smooth=1", "pixels added to numerator and denominator";
    ["smooth", "smooth_nr", "smooth_dr", "eps", "epsilon"], "weighting"
        => "", "it has no smoothing: its sums are floored at 1e-7";
    ["smooth", "smoothing", "smooth_factor", "epsilon", "eps", "ls"], "label_smoothing"
        => "label_smoothing=0.1", "a share of the target that is spread evenly";
    ["smooth", "eps", "smooth_nr", "smooth_dr"], "epsilon" => "epsilon=1e-5", "pixels added to mass and valid pixels";
    ["label_smoothing", "smooth_labels"], "" => "", "label smoothing is Cross-Entropy's: `ce(label_smoothing=0.1)`";
    ["include_background", "do_bg", "exclude_background", "ignore_background", "background", "ignore_channels",
     "background_index", "idc", "class_ids"], "classes"
        => "classes=[1, 2]", "the classes that count; without 0 the background does not";
    ["include_background", "do_bg", "exclude_background", "ignore_background", "background_index", "classes"], "class_weights"
        => "class_weights=[0, 1, 1]", "a weight of 0 leaves a class out";
    ["reduction", "reduce", "size_average", "average"], "pooling"
        => "", "a term is a mean: pooling=batch or pooling=sample says of what, a number before the term (`100 * dice`) makes it \
                a sum, and `elements` gives the values before the mean";
    ["batch", "batch_dice", "per_batch"], "pooling" => "pooling=batch", "or pooling=sample, which is batch=false";
    ["per_image", "per_sample", "samplewise"], "pooling" => "pooling=sample", "or pooling=batch, which is per_image=false";
    ["squared_pred", "square", "squares", "squared_denominator"], "squared" => "squared=true", "";
    ["log_loss", "log", "log_dice"], "form" => "form=log", "";
    ["jaccard"], "squared" => "", "it is a term of its own: write `jaccard` in place of this one";
    ["gamma"], "smooth_numerator" => "", "there is no power of a score here; gamma is an option of `focal`";
    ["gamma", "focusing"], "" => "", "gamma is an option of `focal`";
    ["temp", "tau", "t"], "temperature" => "temperature=10", "";
    ["temp", "tau", "temperature"], "" => "", "this term has the temperature 1";
    ["k", "percent", "top_k", "ratio", "keep"], "fraction" => "fraction=0.1", "a tenth of the pixels";
    ["prior", "proportions", "size", "sizes", "ratio"], "target" => "target=[0.9, 0.1]", "one proportion for each class";
    ["fp_weight", "fp"], "beta" => "alpha=0.3", "alpha weighs false positives";
    ["fn_weight", "fn", "delta"], "beta" => "beta=0.7", "beta weighs false negatives";
    ["sigmoid", "apply_sigmoid"], "activation" => "activation=sigmoid", "";
    ["softmax", "use_softmax", "apply_softmax"], "activation" => "activation=softmax", "";
    ["mode", "act", "other_act", "apply_nonlin", "nonlin", "final_nonlin"], "activation"
        => "activation=sigmoid", "or softmax; for the whole loss `with activation=sigmoid` at its end";
    ["from_logits", "logits", "with_logits", "is_logits"], "" => "", "losses always take logits";
    ["to_onehot_y", "one_hot", "onehot"], "" => "", "leave it out: labels are read as they are, without a one-hot array";
    ["soft_label", "soft_labels"], "" => "", "leave it out: soft targets are read as they are";
    ["num_classes", "n_classes", "nclass", "num_channels"], "" => "", "leave it out: the logits' channels say it";
    ["ignore_index", "ignore", "ignore_label", "pad_tokens", "ignored_index"], ""
        => "", "it is for the whole loss: put `with ignore=255` at its end";
    ["activation"], "" => "", "it is for the whole loss: put `with activation=sigmoid` at its end";
    ["lambda", "lambda_dice", "lambda_ce", "lambda_focal", "lambda_gdl", "weight_ce", "weight_dice", "coefficient", "factor",
     "scale"], "" => "", "the weight of a term is a number before it: `0.5 * dice`";
    ["alpha_balance", "balance"], "alpha" => "alpha=0.25", "";
    ["alpha"], "label_smoothing" => "", "alpha is an option of `focal`; classes are weighed by class_weights";
    ["dim", "axis", "class_dim", "channel_axis"], "" => "", "leave it out: classes are the second axis, [N, K, *spatial]";
    ["spacing", "resolution", "voxel_spacing"], "" => "", "the spacing is given with the target, not with the loss";
    ["reduced_threshold", "normalized", "clip_tp", "ddp"], "" => "", "there is nothing like it here";
};

/// What `with` takes, by the names of others.
pub(super) const SETTINGS: &[Word] = table! {
    ["ignore_index", "ignore_label", "ignored", "void", "mask"], "" => "ignore=255", "";
    ["act", "sigmoid", "softmax", "mode"], "" => "activation=sigmoid", "";
    ["epochs"], "" => "epoch=5", "";
};

/// The word of a key among those whose option is known.
pub(super) fn find<'w>(words: &'w [Word], key: &str, known: &[&str]) -> Option<&'w Word> {
    words.iter().find(|word| word.is(key) && (word.with.is_empty() || known.contains(&word.with)))
}
