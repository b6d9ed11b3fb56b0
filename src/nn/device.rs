//! Where a model computes.

use std::str::FromStr;

use super::Dtype;

/// Where a model computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// This machine's cores.
    #[default]
    Cpu,
    /// An NVIDIA GPU, by its number. Needs the feature `cuda`.
    Cuda(usize),
}

impl FromStr for Device {
    type Err = String;

    /// `cpu`, `cuda` (the first) or `cuda:1`.
    fn from_str(name: &str) -> Result<Self, String> {
        let number = |n: &str| n.parse().map_err(|_| format!("{n} is no number of a GPU"));
        match name.split_once(':') {
            None if name == "cpu" => Ok(Device::Cpu),
            None if name == "cuda" => Ok(Device::Cuda(0)),
            Some(("cuda", n)) => number(n).map(Device::Cuda),
            _ => Err("give cpu, cuda or cuda:N".into()),
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Device::Cpu => write!(f, "cpu"),
            Device::Cuda(n) => write!(f, "cuda:{n}"),
        }
    }
}

impl Device {
    /// The precision asked for, or else the one that a model is stored for; a GPU computes int8 models in bf16.
    pub fn dtype(self, asked: Option<Dtype>, stored: Option<Dtype>) -> Dtype {
        match (self, asked.or(stored).unwrap_or(Dtype::F32)) {
            (Device::Cuda(_), Dtype::Int8) if asked.is_none() => Dtype::Bf16,
            (_, dtype) => dtype,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_the_names_that_people_know() {
        for (name, device) in [("cpu", Device::Cpu), ("cuda", Device::Cuda(0)), ("cuda:3", Device::Cuda(3))] {
            assert_eq!(name.parse(), Ok(device));
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        for wrong in ["gpu", "cuda:", "cuda:x", "cpu:1", ""] {
            assert!(wrong.parse::<Device>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_gpu_takes_int8_models_in_bf16_unless_told_otherwise() {
        let gpu = Device::Cuda(0);
        assert_eq!(gpu.dtype(None, Some(Dtype::Int8)), Dtype::Bf16);
        assert_eq!(gpu.dtype(Some(Dtype::Int8), None), Dtype::Int8, "which it then refuses by name");
        assert_eq!(gpu.dtype(Some(Dtype::F32), Some(Dtype::Int8)), Dtype::F32);
        assert_eq!(Device::Cpu.dtype(None, Some(Dtype::Int8)), Dtype::Int8);
        assert_eq!(Device::Cpu.dtype(None, None), Dtype::F32);
    }
}
