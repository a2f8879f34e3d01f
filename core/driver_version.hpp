// What is said of a GPU's driver; kept apart from core/cuda because builds without CUDA have it,
// too.
#pragma once

#include <string>

namespace sluice {

/// "the NVIDIA driver is for CUDA 12.2, this program for CUDA 13.0: ...". Versions as CUDA counts
/// them: 12020 is 12.2.
std::string why_driver_is_too_old(int driver_version, int program_version);

} // namespace sluice
