// The NVIDIA GPUs this process sees (CUDA_VISIBLE_DEVICES is respected: indices count what is
// visible). A build without CUDA sees none.
#pragma once

#include "core/device.hpp"

#include <cstddef>
#include <string>

namespace sluice {

struct GpuInfo {
    std::string name;
    std::string uuid;         ///< the same in every process that sees this GPU
    std::string pci_bus;      ///< "0000:65:00.0"; parts of one GPU (MIG) have the same one
    int major = 0, minor = 0; ///< compute capability
    std::size_t total_bytes = 0;
    std::size_t shared_bytes_per_block = 0; ///< the most that one block may ask for
};

/// 0 where there is no GPU, no driver, or no CUDA in this build; never throws.
int num_gpus();
/// "no NVIDIA driver is loaded" and the like; empty when there is a GPU.
std::string why_no_gpu();
/// Whether this machine is one with GPUs, whether or not this process and this build can use them;
/// never throws.
bool gpu_driver_is_loaded();
/// Throws UserError (usage) when there is no GPU with this index.
GpuInfo gpu_info(int index);
/// Makes it the calling thread's current GPU. Throws UserError (usage) like gpu_info.
Device use_gpu(int index);
/// Free bytes on the current GPU. Throws UserError (usage) when there is none.
std::size_t free_gpu_bytes();
/// What all processes together have taken of the current GPU, CUDA's own share included.
std::size_t used_gpu_bytes();

} // namespace sluice
