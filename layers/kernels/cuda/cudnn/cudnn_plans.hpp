// cuDNN's plans for attention: one for every pass and all sizes, made when it is first asked for.
#pragma once

#include "core/cuda/gpu_stream.hpp"

#include <compare>
#include <cstdint>
#include <span>
#include <string>

namespace sluice::kernels {

enum class AttentionPass { forward, backward };

/// Everything that a plan depends on. `heads` of `all_heads` neighbours in a row of qkv.
struct CudnnPlanKey {
    int device;
    AttentionPass pass;
    std::int64_t sequences, positions, heads, head_dim, all_heads;
    auto operator<=>(const CudnnPlanKey&) const = default;
};

/// What a plan reads and writes, in the layouts of attention.hpp: from `dout` on, the backward pass
/// alone.
enum class CudnnTensor : std::int64_t { q = 1, k, v, out, logsumexp, dout, dq, dk, dv };

/// Where it begins.
struct CudnnPlace {
    CudnnTensor tensor;
    void* at;
};

/// Deterministic, and chosen by cuDNN's own order: nothing is timed.
struct CudnnPlan {
    std::int64_t workspace_bytes = 0;
    std::string name;
};

/// The reference holds for good. Throws UserError (usage) when cuDNN does not do that on this GPU.
const CudnnPlan& cudnn_plan(const CudnnPlanKey& key);

/// Queues the plan, with scratch memory of the stream's. Throws PeerError when the GPU fails, and
/// what cudnn_plan() throws.
void run_cudnn_plan(const CudnnPlanKey& key, const GpuStream& stream,
                    std::span<const CudnnPlace> places);

} // namespace sluice::kernels
