// Rows of scores in float32 to weights, and their gradients, in bfloat16: in wide lanes alone,
// which every processor with AMX has (attention_bf16.hpp).
//
// Legend: a row has `num_keys` keys, of which its query sees the first `visible`, at least one. The
// memory of a row reaches to the next multiple of num_wide_lanes: what lies behind num_keys is read
// for nothing and overwritten.
#pragma once

#include "core/bfloat16.hpp"
#include "layers/kernels/cpu/wide_lanes.hpp"

#include <cstdint>

namespace sluice::kernels {

struct ScoreRow {
    const float* scores; ///< [num_keys], not yet scaled
    std::int64_t visible, num_keys;
    float scale;
};

struct RowSum {
    float maximum; ///< of the scaled scores seen so far
    float weights; ///< sum of this row's weights
};

struct RowGradient {
    const float* dp; ///< [num_keys] in
    float logsumexp, row_dot;
};

/// weights = exp(scale * scores - maximum), zero for keys that are not seen; the maximum is that of
/// this row or `old_maximum`.
RowSum softmax_row(const ScoreRow& row, float old_maximum, BFloat16* weights);

/// p = exp(scale * scores - logsumexp), ds = p (dp - row_dot), zero for keys that are not seen.
void score_gradient_row(const ScoreRow& row, const RowGradient& gradient, BFloat16* p,
                        BFloat16* ds);

} // namespace sluice::kernels
