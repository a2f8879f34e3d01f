// Every call of the CUDA runtime goes through SLUICE_CUDA_CALL.
#pragma once

#include <cuda_runtime_api.h>

namespace sluice {

/// Throws when `status` is not success: UserError (usage) where no GPU can be used, PeerError (the
/// device failed) otherwise. Both name the call.
void check_cuda(cudaError_t status, const char* call, const char* file, int line);

} // namespace sluice

#define SLUICE_CUDA_CALL(call) ::sluice::check_cuda((call), #call, __FILE__, __LINE__)
