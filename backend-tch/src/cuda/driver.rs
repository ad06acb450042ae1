//! CUDA's driver: kernels compiled for a device, and launched on its default stream, which LibTorch
//! uses unless it is told otherwise. Loaded where it is there.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::ptr;
use std::sync::{Arc, Mutex, PoisonError};

use cudarc::driver::{result, sys};

use super::launch::{Compiler, Failure, Kernel, Kernels, Launcher};
use super::nvrtc;

const THREADS: usize = 128;

/// Blocks for each multiprocessor of a device: several rounds of what fits, so that the last one
/// matters little.
const BLOCKS: usize = 16;

/// A device: its context is the one that LibTorch uses as well.
#[derive(Clone, Copy)]
struct Device {
    context: sys::CUcontext,
    /// Such as `sm_90`.
    capability: (i32, i32),
    multiprocessors: usize,
}

// SAFETY: a context is a handle that any thread may make its own; the driver locks what it must.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

/// A context that is a thread's own until this is dropped. LibTorch's choice of a device is the
/// thread's context, and comes back with it.
struct Entered;

impl Entered {
    fn new(context: sys::CUcontext) -> Result<Self, Failure> {
        // SAFETY: the context was retained, for good.
        unsafe { sys::cuCtxPushCurrent_v2(context) }.result()?;
        Ok(Self)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut context = ptr::null_mut();
        // SAFETY: takes away what `new` has put there.
        let _ = unsafe { sys::cuCtxPopCurrent_v2(ptr::from_mut(&mut context)) };
    }
}

impl Device {
    fn new(index: usize) -> Result<Self, Failure> {
        // SAFETY: loading the driver runs nothing but its own start.
        if !unsafe { sys::is_culib_present() } {
            return Err("libcuda is not here".into());
        }
        result::init()?;
        let device = result::device::get(i32::try_from(index)?)?;
        let attribute = |attribute| {
            // SAFETY: the device is one of the driver's.
            unsafe { result::device::get_attribute(device, attribute) }
        };
        use sys::CUdevice_attribute_enum as Attribute;
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let multiprocessors = attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?;
        // SAFETY: as above; it is never released.
        let context = unsafe { result::primary_ctx::retain(device) }?;
        Ok(Self { context, capability: (major, minor), multiprocessors: usize::try_from(multiprocessors)? })
    }
}

impl Launcher for Device {
    fn name(&self) -> &'static str {
        "CUDA"
    }

    fn threads(&self) -> usize {
        THREADS
    }

    fn blocks(&self) -> usize {
        BLOCKS * self.multiprocessors
    }

    fn compile(&self, source: &str, kernels: &[Kernel]) -> Result<Arc<dyn Kernels>, Failure> {
        let (major, minor) = self.capability;
        let code = nvrtc::compile(source, &format!("sm_{major}{minor}"))?;
        let _entered = Entered::new(self.context)?;
        // SAFETY: NVRTC has made the code for this device; the driver copies it.
        let module = unsafe { result::module::load_data(code.as_ptr().cast()) }?;
        let function = |kernel: &Kernel| -> Result<_, Failure> {
            // SAFETY: the module was loaded just now, and is never unloaded.
            Ok((*kernel, unsafe { result::module::get_function(module, CString::new(kernel.name())?) }?))
        };
        let functions = kernels.iter().map(function).collect::<Result<_, _>>()?;
        Ok(Arc::new(Loaded { device: *self, functions }))
    }
}

/// The functions of a source.
struct Loaded {
    device: Device,
    functions: Vec<(Kernel, sys::CUfunction)>,
}

// SAFETY: functions are handles of a module that is never unloaded; the driver locks what it must.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

impl Kernels for Loaded {
    unsafe fn launch(&self, kernel: Kernel, blocks: u32, arguments: &[u64]) -> Result<(), Failure> {
        let _entered = Entered::new(self.device.context)?;
        let function = self.functions.iter().find(|(known, _)| *known == kernel);
        let (_, function) = *function.ok_or("the source has no such kernel")?;
        let mut parameters = [arguments.as_ptr().cast_mut().cast::<c_void>()];
        // SAFETY: the function is of this context; its one parameter is `struct Arguments`, whose
        // words the caller has promised, and which the driver copies. The stream is the default
        // one.
        unsafe {
            result::launch_kernel(function, (blocks, 1, 1), (THREADS as u32, 1, 1), 0, ptr::null_mut(), &mut parameters)
        }?;
        Ok(())
    }
}

/// Devices by their index, or why their kernels cannot be compiled.
type Devices = HashMap<usize, Result<Arc<Compiler>, Arc<str>>>;

/// The compiler of a device, made the first time; or why there is none.
pub(crate) fn compiler(index: usize) -> Result<Arc<Compiler>, Arc<str>> {
    static DEVICES: Mutex<Option<Devices>> = Mutex::new(None);
    let mut devices = DEVICES.lock().unwrap_or_else(PoisonError::into_inner);
    let of_device = || {
        let device = Device::new(index).map_err(|error| Arc::from(format!("CUDA's driver: {error}")))?;
        match nvrtc::missing() {
            Some(missing) => Err(Arc::from(missing)),
            None => Ok(Arc::new(Compiler::new(Box::new(device)))),
        }
    };
    devices.get_or_insert_with(HashMap::new).entry(index).or_insert_with(of_device).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_driver_there_is_a_reason_and_no_panic() {
        // SAFETY: as in `Device::new`.
        if unsafe { sys::is_culib_present() } {
            return;
        }
        let reason = compiler(0).err().unwrap();
        assert_eq!(&*reason, "CUDA's driver: libcuda is not here");
        assert_eq!(compiler(0).err().unwrap(), reason);
    }
}
