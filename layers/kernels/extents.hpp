// The extents of each operation, checked against its contract once for every backend.
#pragma once

#include "layers/kernels/adamw.hpp"
#include "layers/kernels/attention.hpp"
#include "layers/kernels/checksum.hpp"
#include "layers/kernels/cross_entropy.hpp"
#include "layers/kernels/elementwise.hpp"
#include "layers/kernels/embedding.hpp"
#include "layers/kernels/matmul.hpp"
#include "layers/kernels/rms_norm.hpp"
#include "layers/kernels/rotary.hpp"
#include "layers/kernels/sum_of_squares.hpp"
#include "layers/kernels/swiglu.hpp"

namespace sluice::kernels {

struct MatmulExtents {
    std::int64_t m, n, k;
};
struct RowExtents {
    std::int64_t rows, channels;
};
struct AttentionExtents {
    std::int64_t sequences, positions, heads, head_dim;
};
struct EmbeddingExtents {
    std::int64_t tokens, vocabulary, channels;
};

// Each is a broken invariant when the operation's tensors do not fit together.
MatmulExtents extents_of(const Matmul& op);
RowExtents extents_of(const RmsNormForward& op);
RowExtents extents_of(const RmsNormBackward& op);
RowExtents extents_of(const SwigluForward& op);  ///< channels: F
RowExtents extents_of(const SwigluBackward& op); ///< channels: F
RowExtents extents_of(const CrossEntropy& op);   ///< channels: V
EmbeddingExtents extents_of(const EmbeddingForward& op);
EmbeddingExtents extents_of(const EmbeddingBackward& op);
AttentionExtents extents_of(const RotaryForward& op);
AttentionExtents extents_of(const RotaryBackward& op);
AttentionExtents extents_of(const AttentionForward& op);
AttentionExtents extents_of(const AttentionBackward& op);
RowExtents extents_of(const RotaryTable& op);    ///< positions and D/2
std::int64_t extents_of(const AdamW& op);        ///< n
std::int64_t extents_of(const Copy& op);         ///< elements
std::int64_t extents_of(const Scale& op);        ///< elements
std::int64_t extents_of(const Add& op);          ///< elements
std::int64_t extents_of(const SumOfSquares& op); ///< tensors

/// Every id in [0, num_ids), for ids in host memory.
void check_ids(const TensorView& ids, std::int64_t num_ids);

} // namespace sluice::kernels
