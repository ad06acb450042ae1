//! Weights in files that other tools read.

use std::path::Path;

use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, ModuleStore, PyTorchToBurnAdapter, SafetensorsStore};

use super::network::UNet;
use crate::error::CliError;
use crate::output;

/// Writes a network's weights as safetensors, with words about them. Names and layouts are those
/// that PyTorch gives the same layers: `fine_in.first_norm.weight`, and convolutions as [outputs,
/// inputs, …].
pub(crate) fn write(path: &Path, network: &UNet, words: &[(&str, String)]) -> Result<(), CliError> {
    let fail = |reason: String| CliError::Encode { path: path.to_path_buf(), reason };
    let mut store = SafetensorsStore::from_bytes(None).with_to_adapter(BurnToPyTorchAdapter).clear_metadata();
    store = store.metadata("format", "pt").metadata("segloss", env!("CARGO_PKG_VERSION"));
    for (name, value) in words {
        store = store.metadata(*name, value);
    }
    network.save_into(&mut store).map_err(|error| fail(error.to_string()))?;
    output::write_file(path, &store.get_bytes().map_err(|error| fail(error.to_string()))?)
}

/// Reads weights into a network of the same shape; those that it has are replaced.
pub(crate) fn read(path: &Path, mut network: UNet) -> Result<UNet, CliError> {
    let bytes = std::fs::read(path).map_err(|error| CliError::io(path, error))?;
    let refuse = |reason: String| CliError::Encode { path: path.to_path_buf(), reason };
    let mut store =
        SafetensorsStore::from_bytes(Some(bytes)).with_from_adapter(PyTorchToBurnAdapter).allow_partial(true).validate(false);
    let damaged = |_| refuse("not a readable safetensors file; is it cut short?".into());
    store.keys().map_err(damaged)?;
    let found = network.load_from(&mut store).map_err(|error| refuse(error.to_string()))?;
    let missing = found.missing.first().map(|(name, _)| format!("{name} is missing"));
    let unused = found.unused.first().map(|name| format!("{name} has no place in it"));
    let wrong = found.errors.first().map(ToString::to_string);
    match wrong.or(missing).or(unused) {
        None => Ok(network),
        Some(what) => Err(refuse(format!("is not of the network that run.json beside it describes: {what}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::network::Shape;
    use burn::tensor::{Device, Distribution, Tensor};

    #[test]
    fn weights_survive_a_file_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let device = Device::flex();
        let images = Tensor::random([2, 1, 1, 16, 12], Distribution::Default, &device);
        let network = |classes| UNet::new(Shape { channels: 1, classes, width: 4, volumes: false }, &device);
        let first = network(3);
        write(&path, &first, &[("loss", "ce".into())]).unwrap();
        let again = read(&path, network(3)).unwrap();
        assert_eq!(again.forward(images.clone()).into_data(), first.forward(images).into_data());

        let line = |network| read(&path, network).unwrap_err().to_string().split_once(": ").unwrap().1.to_owned();
        let other = line(network(2));
        assert!(
            other.starts_with("is not of the network that run.json beside it describes: Shape mismatch for 'head."),
            "{other}"
        );
        let bytes = std::fs::read(&path).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for name in [r#""loss":"ce""#, r#""fine_in.first_norm.weight""#, r#""fine_in.first_norm.bias""#, r#""head.weight""#] {
            assert!(text.contains(name), "{name}");
        }
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert_eq!(line(network(3)), "not a readable safetensors file; is it cut short?");
    }
}
