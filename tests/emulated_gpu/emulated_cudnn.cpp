// cuDNN's attention on emulated GPUs, taken for the library's at link time: our own kernels,
// forward those without tensor cores, so that its bits are not those of our own with them. As by
// the library, scratch memory is taken by the first pass at the latest.
#include "tests/emulated_gpu/queued_launcher.hpp"

#include "layers/kernels/cuda/attention_backward_kernel.cuh"
#include "layers/kernels/cuda/attention_kernel.cuh"
#include "layers/kernels/cudnn_attention.hpp"

#include <cstdlib>
#include <cstring>

namespace sluice::kernels {

namespace {

std::size_t workspace_bytes(const AttentionExtents& e)
{
    return static_cast<std::size_t>(2 * e.sequences * e.heads * e.positions * e.positions);
}

template <class Op>
testing::QueuedLauncher launcher_of(const Stream& stream, const char* name, const Op& op)
{
    const AttentionExtents e = extents_of(op);
    SLUICE_CHECK(why_not_cudnn(op.qkv.dtype, e).empty(), why_not_cudnn(op.qkv.dtype, e));
    const testing::QueuedLauncher launcher(stream, name, op);
    const DeviceMemory& scratch = GpuStream::of(stream).large_workspace(workspace_bytes(e));
    launcher.queue([at = scratch.data(), bytes = workspace_bytes(e)] {
        std::memset(at, 0xff, bytes); // what another operation left there is gone
    });
    return launcher;
}

} // namespace

bool cudnn_is_compiled_in() { return true; }

/// SLUICE_EMULATED_CUDNN=none: a machine without the library.
std::string why_no_cudnn()
{
    const char* const setting = std::getenv("SLUICE_EMULATED_CUDNN");
    return setting != nullptr && std::string(setting) == "none" ? "cannot load emulated cuDNN" : "";
}

std::string cudnn_version() { return "emulated"; }
std::int64_t cudnn_position_multiple() { return 1; }

CudnnAttention prepare_cudnn_attention(const Stream& stream, DType dtype, const AttentionExtents& e)
{
    for (const std::string& why : {why_no_cudnn(), why_not_cudnn(dtype, e)})
        if (!why.empty())
            throw usage_error(why, "precision.attention", "write attention = \"own\"");
    return {GpuStream::of(stream).large_workspace(workspace_bytes(e)).num_bytes(),
            "emulated cuDNN"};
}

void run_cudnn(const Stream& stream, const AttentionForward& op)
{
    emulated::launch_attention_simple(launcher_of(stream, "AttentionForward", op), op);
}

void run_cudnn(const Stream& stream, const AttentionBackward& op)
{
    emulated::launch_attention(launcher_of(stream, "AttentionBackward", op), op);
}

} // namespace sluice::kernels
