//! The batches of patches that training sees of its images.

use ndarray::{Array3, Array4, Axis};
use rand::RngExt;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::augment::Augment;
use super::data::{IGNORED, Picture, Truth};

/// Places that are remembered of a class of an image, evenly spread over those it has.
const PLACES: usize = 1000;

/// Keeps the sampler's random numbers apart from those that make the images.
const SAMPLER_STREAM: u64 = u64::MAX;

/// Patches of one size, in memory order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Batch {
    /// What the network sees, [n, c, d, h, w].
    pub(crate) inputs: Vec<f32>,
    /// Classes or [`IGNORED`], [n, d, h, w]; empty where there are shares.
    pub(crate) labels: Vec<i32>,
    /// Shares of classes, [n, k, d, h, w]; empty where there are labels.
    pub(crate) shares: Vec<f32>,
    /// With shares: 0 beyond an image's border, else 1, [n, d, h, w].
    pub(crate) weights: Vec<f32>,
}

/// A piece of an image.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Patch {
    /// [C, D, H, W]
    pub(crate) input: Array4<f32>,
    /// What is to be found in it; labels are [`IGNORED`] beyond the image's border.
    pub(crate) truth: Truth,
    /// 0 beyond the image's border, else 1.
    pub(crate) inside: Array3<f32>,
}

impl Patch {
    /// The piece of an image that begins at a corner. What lies beyond the borders repeats them.
    pub(crate) fn cut(picture: &Picture, corner: [isize; 3], side: [usize; 3]) -> Self {
        let size = picture.size();
        // Along each axis: the nearest place of the image, and whether it is the place itself.
        let places = [0, 1, 2].map(|axis| {
            let place = |i: usize| {
                let at = corner[axis] + i as isize;
                let nearest = at.clamp(0, size[axis] as isize - 1);
                (nearest as usize, at == nearest)
            };
            (0..side[axis]).map(place).collect::<Vec<_>>()
        });
        let inside = |d: usize, h: usize, w: usize| places[0][d].1 && places[1][h].1 && places[2][w].1;
        let many = |array: &Array4<f32>| {
            Array4::from_shape_fn([array.len_of(Axis(0)), side[0], side[1], side[2]], |(c, d, h, w)| {
                array[[c, places[0][d].0, places[1][h].0, places[2][w].0]]
            })
        };
        let truth = match &picture.truth {
            Truth::Labels(labels) => Truth::Labels(Array3::from_shape_fn(side, |(d, h, w)| {
                let label = labels[[places[0][d].0, places[1][h].0, places[2][w].0]];
                if inside(d, h, w) { label } else { IGNORED }
            })),
            Truth::Shares(shares) => Truth::Shares(many(shares)),
        };
        let inside = Array3::from_shape_fn(side, |(d, h, w)| if inside(d, h, w) { 1.0 } else { 0.0 });
        Self { input: many(&picture.input), truth, inside }
    }

    fn append_to(self, batch: &mut Batch) {
        batch.inputs.extend(self.input);
        match self.truth {
            Truth::Labels(labels) => batch.labels.extend(labels.into_iter().map(i32::from)),
            Truth::Shares(shares) => {
                batch.shares.extend(shares);
                batch.weights.extend(self.inside);
            }
        }
    }
}

/// All that chance decides after the network's first weights: kept, it goes on where it stopped.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chance {
    /// The numbers.
    pub(crate) rng: ChaCha8Rng,
    /// Images still to be seen in this pass, the next one last.
    pub(crate) order: Vec<usize>,
}

impl Chance {
    /// Of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(SAMPLER_STREAM);
        Self { rng, order: Vec::new() }
    }
}

/// Draws random patches: every image equally often; a stated share of the patches around a pixel of
/// a class that is drawn first, the others anywhere in the image.
pub(crate) struct Sampler<'a> {
    pictures: &'a [Picture],
    places: Vec<Vec<Vec<u32>>>,
    patch: [usize; 3],
    rare: f64,
    augment: Augment,
    /// What is random in it.
    pub(crate) chance: Chance,
}

impl<'a> Sampler<'a> {
    /// A sampler of patches of this size, of which `rare` (0 to 1) are centred on a pixel of a
    /// class drawn from those that occur in the image, from `foreground` on.
    pub(crate) fn new(
        pictures: &'a [Picture],
        patch: [usize; 3],
        rare: f64,
        foreground: usize,
        augment: Augment,
        chance: Chance,
    ) -> Self {
        let places = if rare > 0.0 { pictures.iter().map(|p| places(&p.truth, foreground)).collect() } else { Vec::new() };
        Self { pictures, places, patch, rare, augment, chance }
    }

    /// The next so many patches.
    pub(crate) fn batch(&mut self, size: usize) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..size {
            if self.chance.order.is_empty() {
                self.chance.order.extend(0..self.pictures.len());
                self.chance.order.shuffle(&mut self.chance.rng);
            }
            if let Some(at) = self.chance.order.pop() {
                self.patch(at).append_to(&mut batch);
            }
        }
        batch
    }

    fn patch(&mut self, at: usize) -> Patch {
        let side = self.augment.side(self.patch, &mut self.chance.rng);
        let corner = self.corner(at, side);
        let patch = Patch::cut(&self.pictures[at], corner, side);
        self.augment.change(patch, self.patch, &mut self.chance.rng)
    }

    fn corner(&mut self, at: usize, side: [usize; 3]) -> [isize; 3] {
        let size = self.pictures[at].size();
        if self.rare > 0.0 && self.chance.rng.random_bool(self.rare) {
            let classes = self.places.get(at).map_or(&[][..], Vec::as_slice);
            if let Some(centre) = drawn(classes, &mut self.chance.rng) {
                return around(unflat(centre as usize, size), side, size);
            }
        }
        // A place without a valid pixel teaches nothing: look further, not forever.
        let mut corner = [0; 3];
        for _ in 0..10 {
            corner = [0, 1, 2].map(|axis| anywhere(size[axis], side[axis], &mut self.chance.rng));
            if counts_at(&self.pictures[at], corner, side) {
                break;
            }
        }
        corner
    }
}

/// Where a patch begins along an axis: anywhere inside, or with a small image in its middle.
fn anywhere(length: usize, side: usize, rng: &mut ChaCha8Rng) -> isize {
    if length <= side { -(((side - length) / 2) as isize) } else { rng.random_range(0..=length - side) as isize }
}

/// The corner of a patch around a place, moved so that it lies within the image where it can.
fn around(centre: [usize; 3], side: [usize; 3], size: [usize; 3]) -> [isize; 3] {
    [0, 1, 2].map(|axis| {
        let spare = size[axis] as isize - side[axis] as isize;
        if spare <= 0 { spare / 2 } else { (centre[axis] as isize - side[axis] as isize / 2).clamp(0, spare) }
    })
}

/// Whether at least half of the pixels that a patch shares with the image count.
fn counts_at(picture: &Picture, corner: [isize; 3], side: [usize; 3]) -> bool {
    let Truth::Labels(labels) = &picture.truth else { return true };
    let size = picture.size();
    let [d, h, w] = [0, 1, 2].map(|axis| {
        let begin = corner[axis].max(0) as usize;
        begin..((corner[axis] + side[axis] as isize).max(0) as usize).min(size[axis])
    });
    let part = labels.slice(ndarray::s![d, h, w]);
    2 * part.iter().filter(|&&label| label != IGNORED).count() >= part.len()
}

/// A place of a class, each class that occurs equally likely.
fn drawn(classes: &[Vec<u32>], rng: &mut ChaCha8Rng) -> Option<u32> {
    let there: Vec<&Vec<u32>> = classes.iter().filter(|places| !places.is_empty()).collect();
    if there.is_empty() {
        return None;
    }
    let places = there.get(rng.random_range(0..there.len()))?;
    places.get(rng.random_range(0..places.len())).copied()
}

fn unflat(at: usize, [_, h, w]: [usize; 3]) -> [usize; 3] {
    [at / (h * w), at / w % h, at % w]
}

/// For each class from `foreground` on up to [`PLACES`] of its pixels, as their place in memory: at
/// most 4 kB for a class of an image. Images of 2^32 pixels and more have none.
fn places(truth: &Truth, foreground: usize) -> Vec<Vec<u32>> {
    let pixels = truth.size().iter().product::<usize>();
    if u32::try_from(pixels).is_err() {
        return Vec::new();
    }
    let mut counts = vec![
        0usize;
        match truth {
            Truth::Labels(labels) => labels.iter().filter(|&&l| l != IGNORED).max().map_or(0, |&l| usize::from(l) + 1),
            Truth::Shares(shares) => shares.len_of(Axis(0)),
        }
    ];
    each(truth, |class, _| counts[class] += 1);
    let mut places: Vec<Vec<u32>> = counts.iter().map(|&count| Vec::with_capacity(count.min(PLACES))).collect();
    let mut seen = vec![0usize; counts.len()];
    each(truth, |class, at| {
        // Number i of n is kept where i * PLACES / n takes a new value.
        let kept = |i: usize| i * PLACES.min(counts[class]) / counts[class];
        if seen[class] == 0 || kept(seen[class]) != kept(seen[class] - 1) {
            places[class].push(at as u32);
        }
        seen[class] += 1;
    });
    places.drain(..foreground.min(places.len()));
    places
}

/// Every pixel of every class, in memory order; of shares those from a half on.
fn each(truth: &Truth, mut see: impl FnMut(usize, usize)) {
    match truth {
        Truth::Labels(labels) => {
            for (at, &label) in labels.iter().enumerate().filter(|(_, label)| **label != IGNORED) {
                see(usize::from(label), at);
            }
        }
        Truth::Shares(shares) => {
            for (class, channel) in shares.axis_iter(Axis(0)).enumerate() {
                channel.iter().enumerate().filter(|(_, share)| **share >= 0.5).for_each(|(at, _)| see(class, at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    fn ramp(height: usize, width: usize) -> Picture {
        let pixels = Array2::from_shape_fn([height, width], |(y, x)| (y * width + x) as u8);
        Picture::new("ramp".into(), pixels.clone(), pixels.mapv(|p| p % 3))
    }

    fn labels(picture: &mut Picture) -> &mut Array3<u8> {
        match &mut picture.truth {
            Truth::Labels(labels) => labels,
            Truth::Shares(_) => panic!("shares"),
        }
    }

    fn plain<'a>(pictures: &'a [Picture], side: usize, seed: u64) -> Sampler<'a> {
        Sampler::new(pictures, [1, side, side], 0.0, 1, Augment::default(), Chance::new(seed))
    }

    #[test]
    fn patches_repeat_the_border_and_ignore_it() {
        let picture = ramp(2, 3);
        let Patch { input, truth, inside } = Patch::cut(&picture, [0, -1, -1], [1, 4, 4]);
        let expected = ndarray::arr3(&[[[255; 4], [255, 0, 1, 2], [255, 0, 1, 2], [255; 4]]]);
        assert_eq!(inside, expected.mapv(|label| if label == 255 { 0.0 } else { 1.0 }));
        assert_eq!(truth, Truth::Labels(expected));
        assert_eq!(input[[0, 0, 0, 0]], picture.input[[0, 0, 0, 0]]);
        assert_eq!(input[[0, 0, 3, 3]], picture.input[[0, 0, 1, 2]]);
    }

    #[test]
    fn the_same_seed_draws_the_same_patches_and_goes_on_where_it_stopped() {
        let pictures = [ramp(9, 7), ramp(5, 12)];
        let draw = |seed| {
            let mut sampler = Sampler::new(&pictures, [1, 4, 4], 0.5, 1, Augment::all(), Chance::new(seed));
            [sampler.batch(3), sampler.batch(3)]
        };
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        let mut sampler = Sampler::new(&pictures, [1, 4, 4], 0.5, 1, Augment::all(), Chance::new(3));
        sampler.batch(3);
        let kept = sampler.chance.clone();
        let mut again = Sampler::new(&pictures, [1, 4, 4], 0.5, 1, Augment::all(), kept);
        assert_eq!(again.batch(3), draw(3)[1]);
    }

    #[test]
    fn image_and_labels_stay_together() {
        let mut pictures = [ramp(8, 8)];
        let batch = plain(&pictures, 4, 0).batch(16);
        assert_eq!(batch.inputs.len(), 16 * 4 * 4);
        for (value, label) in batch.inputs.iter().zip(&batch.labels) {
            let at = pictures[0].input.iter().position(|v| v == value).unwrap();
            assert_eq!(i32::from(labels(&mut pictures[0]).as_slice().unwrap()[at]), *label);
        }
    }

    #[test]
    fn invalid_places_are_avoided() {
        let mut pictures = [ramp(8, 32)];
        labels(&mut pictures[0]).slice_mut(ndarray::s![.., .., 16..]).fill(IGNORED);
        let batch = plain(&pictures, 8, 1).batch(20);
        for patch in batch.labels.chunks(64) {
            assert!(patch.iter().filter(|&&l| l != 255).count() >= 32);
        }
    }

    #[test]
    fn rare_classes_are_seen_as_often_as_asked() {
        let mut pictures = [ramp(64, 64)];
        labels(&mut pictures[0]).fill(0);
        labels(&mut pictures[0])[[0, 3, 60]] = 1;
        labels(&mut pictures[0]).slice_mut(ndarray::s![.., 30..60, 4..34]).fill(2);
        let shown = |rare: f64| {
            let mut sampler = Sampler::new(&pictures, [1, 8, 8], rare, 1, Augment::default(), Chance::new(0));
            let batch = sampler.batch(300);
            let has = |class: i32| batch.labels.chunks(64).filter(|patch| patch.contains(&class)).count();
            [has(1), has(2)]
        };
        let [always, third, never] = [1.0, 0.34, 0.0].map(shown);
        // One of 3249 places shows the one pixel; half of the centred patches do.
        assert!((120..180).contains(&always[0]) && always[0] + always[1] == 300, "{always:?}");
        assert!((30..75).contains(&third[0]), "{third:?}");
        assert!(never[0] < 15, "{never:?}");
    }

    #[test]
    fn places_are_few_and_spread() {
        let mut picture = ramp(100, 100);
        labels(&mut picture).fill(1);
        labels(&mut picture)[[0, 0, 0]] = 0;
        labels(&mut picture)[[0, 99, 0]] = 3;
        let found = places(&picture.truth, 1);
        assert_eq!((found.len(), found[0].len(), found[1].len(), &found[2]), (3, PLACES, 0, &vec![9900]));
        assert!(found[0].windows(2).all(|pair| pair[1] - pair[0] <= 11) && found[0][999] > 9980);
        assert_eq!(unflat(9900, [1, 100, 100]), [0, 99, 0]);
        assert_eq!(around([0, 99, 0], [1, 8, 8], [1, 100, 100]), [0, 92, 0]);
        assert_eq!(around([5, 50, 2], [4, 8, 8], [10, 100, 3]), [3, 46, -2]);
    }
}
