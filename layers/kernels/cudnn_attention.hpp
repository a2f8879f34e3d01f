// cuDNN's fused attention on GPUs in place of our own kernels: what `Stream::cudnn_attention` asks
// for. Deterministic, in the layouts of attention.hpp. row_dot of the backward pass is left alone.
#pragma once

#include "core/device.hpp"
#include "core/dtype.hpp"
#include "layers/kernels/attention.hpp"
#include "layers/kernels/extents.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

namespace sluice::kernels {

/// Whether the build found CUDA and the headers of cuDNN and of its frontend.
bool cudnn_is_compiled_in();

/// Why cuDNN cannot be used in this build or on this machine; empty: it can. Loads the library.
std::string why_no_cudnn();

/// "9.19.0"; where why_no_cudnn() has nothing to say.
std::string cudnn_version();

/// Positions must be a multiple of it, by the library's version; where why_no_cudnn() has nothing
/// to say.
std::int64_t cudnn_position_multiple();

/// Why cuDNN does not take tensors of this type and these sizes, whatever the GPU; empty: it may.
std::string why_not_cudnn(DType dtype, const AttentionExtents& e);

/// What prepare_cudnn_attention() found.
struct CudnnAttention {
    std::size_t workspace_bytes = 0; ///< taken on the stream's GPU
    std::string in_words{};          ///< version and plans: the same where the bits are the same
};

/// Loads cuDNN, has it make its plans for both passes on tensors of these sizes, and takes their
/// scratch memory. The first pass does it where nobody did before; never while work is captured.
/// Throws UserError (usage) when cuDNN is not compiled in, not found or too old, or does not do
/// that on this GPU.
CudnnAttention prepare_cudnn_attention(const Stream& stream, DType dtype,
                                       const AttentionExtents& e);

void run_cudnn(const Stream& stream, const AttentionForward& op);
void run_cudnn(const Stream& stream, const AttentionBackward& op);

} // namespace sluice::kernels
