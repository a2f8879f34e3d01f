// Every call of the CUDA runtime goes through SLUICE_CUDA_CALL.
#pragma once

#include "core/error.hpp"

#include <cuda_runtime_api.h>
#include <string>

namespace sluice {

/// (usage) with the current GPU's numbers: for calls that take memory on the way, as loading a
/// kernel does.
UserError out_of_gpu_memory(const std::string& call);

/// Throws when `status` is not success: UserError (usage) where no GPU can be used or its memory is
/// used up, PeerError (the device failed) otherwise. All name the call.
void check_cuda(cudaError_t status, const char* call, const char* file, int line);

} // namespace sluice

#define SLUICE_CUDA_CALL(call) ::sluice::check_cuda((call), #call, __FILE__, __LINE__)
