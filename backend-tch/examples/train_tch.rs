//! A small U-Net learns to find made-up lesions: `cargo xtask tch run --release -p backend-tch --example train_tch`.
//!
//! Options, each followed by its value: `--device cpu|cuda|cuda:1`, `--loss TEXT`, `--epochs N`, `--images N`, `--seed N`.

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use backend_tch::{TchLoss, TchTarget};
use loss_core::Loss;
use tch::nn::{self, ModuleT, OptimizerConfig};
use tch::{Device, Kind, Tensor};

/// Side of an image.
const SIDE: usize = 64;

const BATCH: i64 = 8;

struct Options {
    device: Device,
    loss: Loss,
    epochs: usize,
    images: usize,
    seed: u64,
}

impl Options {
    fn read() -> Result<Self, Box<dyn Error>> {
        let loss = "ce + 0.5 * l1(temperature=1) + dice".parse()?;
        let mut options = Self { device: Device::Cpu, loss, epochs: 15, images: 128, seed: 1 };
        let mut words = std::env::args().skip(1);
        while let Some(name) = words.next() {
            let value = words.next().ok_or_else(|| format!("{name} needs a value"))?;
            match name.as_str() {
                "--device" => options.device = device(&value)?,
                "--loss" => options.loss = value.parse()?,
                "--epochs" => options.epochs = value.parse()?,
                "--images" => options.images = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                _ => return Err(format!("{name} is not --device, --loss, --epochs, --images or --seed").into()),
            }
        }
        Ok(options)
    }
}

fn device(text: &str) -> Result<Device, Box<dyn Error>> {
    let device = match text.split_once(':') {
        None if text == "cpu" => Device::Cpu,
        None if text == "cuda" => Device::Cuda(0),
        Some(("cuda", index)) => Device::Cuda(index.parse()?),
        _ => return Err(format!("{text} is not cpu, cuda or cuda:N").into()),
    };
    match device {
        Device::Cuda(index) if index as i64 >= tch::Cuda::device_count() => Err(format!("there is no {text} here").into()),
        device => Ok(device),
    }
}

/// An image in the making: numbers that look random, grey values, and where the lesions are.
struct Canvas {
    state: u64,
    grey: Vec<f32>,
    labels: Vec<u8>,
}

impl Canvas {
    /// A uniform number, by splitmix64.
    fn draw(&mut self, low: f32, high: f32) -> f32 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        low + (high - low) * ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    }

    fn add(&mut self, value: impl Fn(f32, f32) -> f32) {
        for (i, grey) in self.grey.iter_mut().enumerate() {
            *grey += value((i / SIDE) as f32, (i % SIDE) as f32);
        }
    }

    /// Depth below the outline of a wavy blob somewhere, positive inside.
    fn blob(&mut self, radius: f32) -> impl Fn(f32, f32) -> f32 + use<> {
        let [cy, cx] = [0, 1].map(|_| self.draw(7.0, SIDE as f32 - 7.0));
        let [height, phase] = [self.draw(0.0, 0.2), self.draw(0.0, 6.3)];
        move |y, x| {
            let [y, x] = [y - cy, x - cx];
            radius * (1.0 + height * (3.0 * y.atan2(x) + phase).cos()) - y.hypot(x)
        }
    }

    /// Small bright lesions, a few percent of the pixels, among things that look like them.
    fn image(seed: u64, index: u64) -> Self {
        let state = seed.wrapping_mul(0xD134_2543_DE82_EF95).wrapping_add(index << 20);
        let mut canvas = Self { state, grey: vec![0.0; SIDE * SIDE], labels: vec![0; SIDE * SIDE] };
        // Uneven light.
        let [level, slope, towards] = [canvas.draw(0.2, 0.4), canvas.draw(0.002, 0.006), canvas.draw(0.0, 6.3)];
        canvas.add(|y, x| level + slope * (x * towards.cos() + y * towards.sin()));
        // Wide bright clouds and dark holes.
        for (strength, low, high) in [(0.25, 8.0, 15.0), (-0.3, 2.0, 5.0)] {
            let radius = canvas.draw(low, high);
            let blob = canvas.blob(radius);
            canvas.add(|y, x| strength / (1.0 + (-blob(y, x)).exp()));
        }
        // Thin bright vessels.
        for _ in 0..2 {
            let [offset, angle] = [canvas.draw(-20.0, 60.0), canvas.draw(0.0, 6.3)];
            canvas.add(|y, x| 0.35 * (-(x * angle.cos() + y * angle.sin() - offset).powi(2)).exp());
        }
        // What is to be found.
        for _ in 0..canvas.draw(1.0, 3.99) as usize {
            let [strength, radius] = [canvas.draw(0.2, 0.4), canvas.draw(2.0, 5.2)];
            let blob = canvas.blob(radius);
            canvas.add(|y, x| strength * (blob(y, x) / 2.0 + 0.5).clamp(0.0, 1.0));
            for (i, label) in canvas.labels.iter_mut().enumerate() {
                *label |= u8::from(blob((i / SIDE) as f32, (i % SIDE) as f32) > 0.0);
            }
        }
        for i in 0..SIDE * SIDE {
            // Nearly normal noise.
            canvas.grey[i] += 0.1 * (0..3).map(|_| canvas.draw(-1.0, 1.0)).sum::<f32>();
        }
        canvas
    }
}

/// Images `[N, 1, SIDE, SIDE]` and labels `[N, SIDE, SIDE]`.
fn pictures(seed: u64, indices: impl Iterator<Item = u64>, device: Device) -> Result<(Tensor, Tensor), Box<dyn Error>> {
    let (mut grey, mut labels) = (Vec::new(), Vec::new());
    for canvas in indices.map(|index| Canvas::image(seed, index)) {
        grey.extend(canvas.grey);
        labels.extend(canvas.labels);
    }
    let side = SIDE as i64;
    let images = Tensor::f_from_slice(&grey)?.f_reshape([-1, 1, side, side])?.f_to_device(device)?;
    Ok((images, Tensor::f_from_slice(&labels)?.f_reshape([-1, side, side])?.f_to_device(device)?))
}

/// Two 3x3 convolutions, each normalised by groups and rectified.
fn block(path: nn::Path, from: i64, to: i64) -> nn::SequentialT {
    let three = nn::ConvConfig { padding: 1, bias: false, ..Default::default() };
    [("first", from), ("second", to)].into_iter().fold(nn::seq_t(), |block, (name, from)| {
        let path = &path / name;
        block
            .add(nn::conv2d(&path / "convolution", from, to, 3, three))
            .add(nn::group_norm(&path / "norm", to / 4, to, Default::default()))
            .add_fn(Tensor::relu)
    })
}

/// A U-Net of three levels; coarse features are narrowed, enlarged, and added to the fine ones.
#[derive(Debug)]
struct UNet {
    inward: [nn::SequentialT; 3],
    narrow: [nn::Conv2D; 2],
    outward: [nn::SequentialT; 2],
    head: nn::Conv2D,
}

impl UNet {
    fn new(path: &nn::Path, classes: i64, width: i64) -> Self {
        let widths = [1, width, 2 * width, 4 * width];
        let point = |name: String, from, to| nn::conv2d(path / name, from, to, 1, Default::default());
        Self {
            inward: [0, 1, 2].map(|i| block(path / format!("inward {i}"), widths[i], widths[i + 1])),
            narrow: [0, 1].map(|i| point(format!("narrow {i}"), widths[i + 2], widths[i + 1])),
            outward: [0, 1].map(|i| block(path / format!("outward {i}"), widths[i + 1], widths[i + 1])),
            head: point("head".to_owned(), width, classes),
        }
    }
}

impl ModuleT for UNet {
    /// Logits `[N, K, H, W]` of images `[N, 1, H, W]`.
    fn forward_t(&self, images: &Tensor, train: bool) -> Tensor {
        let fine = self.inward[0].forward_t(images, train);
        let middle = self.inward[1].forward_t(&fine.max_pool2d_default(2), train);
        let coarse = self.inward[2].forward_t(&middle.max_pool2d_default(2), train);
        let up = |i: usize, fine: &Tensor, coarse: &Tensor| {
            let size = fine.size();
            let coarse = coarse.apply(&self.narrow[i]).upsample_nearest2d(&size[2..], None, None);
            self.outward[i].forward_t(&(fine + coarse), train)
        };
        up(0, &fine, &up(1, &middle, &coarse)).apply(&self.head)
    }
}

/// Dice of the foreground over all pixels, of the most likely class.
fn dice(net: &UNet, images: &Tensor, labels: &Tensor) -> f64 {
    tch::no_grad(|| {
        let predicted = net.forward_t(images, false).argmax(1, false).to_kind(Kind::Double);
        let truth = labels.to_kind(Kind::Double);
        let both = (&predicted * &truth).sum(Kind::Double);
        (both * 2.0 / (predicted + truth).sum(Kind::Double)).double_value(&[])
    })
}

fn main() -> ExitCode {
    match train() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("train_tch: {error}");
            ExitCode::FAILURE
        }
    }
}

fn train() -> Result<(), Box<dyn Error>> {
    let Options { device, loss, epochs, images: count, seed } = Options::read()?;
    tch::manual_seed(seed as i64);
    let store = nn::VarStore::new(device);
    let net = UNet::new(&store.root(), 2, 8);
    let mut optimiser = nn::Adam::default().build(&store, 1e-2)?;
    let (images, labels) = pictures(seed, 0..count as u64, device)?;
    let (held_out, held_out_labels) = pictures(seed, (0..32).map(|i| (1 << 30) + i), device)?;
    println!("{loss} on {count} images, on {device:?}");
    println!("lesions are {:.1} % of the pixels", 100.0 * labels.to_kind(Kind::Double).mean(None).double_value(&[]));
    for epoch in 0..epochs {
        let (start, loss) = (Instant::now(), loss.at_epoch(epoch));
        let order = Tensor::f_randperm(count as i64, (Kind::Int64, device))?;
        let mut total = Tensor::f_zeros([0i64; 0], (Kind::Double, device))?;
        for batch in order.split(BATCH, 0) {
            let logits = net.forward_t(&images.index_select(0, &batch), true);
            let out = loss.forward(&logits, &TchTarget::labels(&labels.index_select(0, &batch)))?;
            optimiser.backward_step(&out.total);
            // Added up where it is: nothing waits for the device before the epoch ends.
            total += out.total.detach() * batch.size()[0] as f64;
        }
        println!(
            "epoch {:2}: loss {:.4}, Dice of the foreground {:.3} on held-out images; {:.1} s",
            epoch + 1,
            total.double_value(&[]) / count as f64,
            dice(&net, &held_out, &held_out_labels),
            start.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
