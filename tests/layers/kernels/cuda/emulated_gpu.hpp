// The kernels for GPUs on the CPU: the launches of layers/kernels/cuda, on a BlockExecutor.
// Matrix products come from a library on GPUs and are not here.
#pragma once

#include "layers/kernels/extents.hpp"
#include "tests/layers/kernels/cuda/block_executor.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>

namespace sluice::testing {

struct EmulatedGpu {
    ThreadOrder order = ThreadOrder::ascending;
    CopyArrival arrival = CopyArrival::late;
    std::size_t workspace_bytes = std::size_t{4} << 20;
    /// Of a launch of more than twice as many blocks, these many first and last ones run, and the
    /// workspace is full of zeros: what the others would leave there on tensors that are zero but
    /// for their ends.
    std::optional<std::int64_t> blocks_at_ends{};
};

/// Whether kernels are compiled so that races between their threads are found (race_checker.hpp).
bool races_are_found();

void run(const EmulatedGpu&, const kernels::AdamW&);
void run(const EmulatedGpu&, const kernels::Checksum&);
void run(const EmulatedGpu&, const kernels::Copy&);
void run(const EmulatedGpu&, const kernels::Fill&);
void run(const EmulatedGpu&, const kernels::Scale&);
void run(const EmulatedGpu&, const kernels::Add&);
void run(const EmulatedGpu&, const kernels::SwigluForward&);
void run(const EmulatedGpu&, const kernels::SwigluBackward&);
void run(const EmulatedGpu&, const kernels::RotaryTable&);
void run(const EmulatedGpu&, const kernels::RotaryForward&);
void run(const EmulatedGpu&, const kernels::RotaryBackward&);
void run(const EmulatedGpu&, const kernels::SumOfSquares&);
void run(const EmulatedGpu&, const kernels::CrossEntropy&);
void run(const EmulatedGpu&, const kernels::EmbeddingForward&);
void run(const EmulatedGpu&, const kernels::EmbeddingBackward&);
void run(const EmulatedGpu&, const kernels::RmsNormForward&);
void run(const EmulatedGpu&, const kernels::RmsNormBackward&);
void run(const EmulatedGpu&, const kernels::AttentionForward&);
void run(const EmulatedGpu&, const kernels::AttentionBackward&);

} // namespace sluice::testing
