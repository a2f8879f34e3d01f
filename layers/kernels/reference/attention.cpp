// Scores of one query at a time; probabilities are recomputed, never stored.
#include "layers/kernels/extents.hpp"
#include "layers/kernels/rotary.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sluice::kernels {

namespace {

/// One head's rows inside [B,T,3,H,D] or [B,T,H,D].
struct HeadRows {
    double* first; ///< [D] at position 0
    std::int64_t stride;
    double* operator[](std::int64_t position) const { return first + position * stride; }
};

HeadRows part_of_qkv(const TensorView& qkv, const AttentionExtents& e, std::int64_t b,
                     std::int64_t part, std::int64_t h)
{
    const std::int64_t stride = 3 * e.heads * e.head_dim;
    return {qkv.as<double>() + b * e.positions * stride + (part * e.heads + h) * e.head_dim,
            stride};
}

HeadRows head_of(const TensorView& heads, const AttentionExtents& e, std::int64_t b, std::int64_t h)
{
    const std::int64_t stride = e.heads * e.head_dim;
    return {heads.as<double>() + b * e.positions * stride + h * e.head_dim, stride};
}

double dot(const double* x, const double* y, std::int64_t n)
{
    double sum = 0.0;
    for (std::int64_t i = 0; i < n; ++i)
        sum += x[i] * y[i];
    return sum;
}

void add_scaled(double* y, double factor, const double* x, std::int64_t n)
{
    for (std::int64_t i = 0; i < n; ++i)
        y[i] += factor * x[i];
}

void forward_head(const AttentionForward& op, const AttentionExtents& e, std::int64_t b,
                  std::int64_t h)
{
    const HeadRows q = part_of_qkv(op.qkv, e, b, 0, h), k = part_of_qkv(op.qkv, e, b, 1, h),
                   v = part_of_qkv(op.qkv, e, b, 2, h), out = head_of(op.out, e, b, h);
    double* logsumexp = op.logsumexp.as<double>() + (b * e.heads + h) * e.positions;
    const double scale = 1.0 / std::sqrt(static_cast<double>(e.head_dim));

    for (std::int64_t i = 0; i < e.positions; ++i) {
        double max = -std::numeric_limits<double>::infinity();
        for (std::int64_t j = 0; j <= i; ++j)
            max = std::max(max, scale * dot(q[i], k[j], e.head_dim));
        double sum = 0.0;
        std::fill_n(out[i], e.head_dim, 0.0);
        for (std::int64_t j = 0; j <= i; ++j) {
            const double weight = std::exp(scale * dot(q[i], k[j], e.head_dim) - max);
            sum += weight;
            add_scaled(out[i], weight, v[j], e.head_dim);
        }
        for (std::int64_t d = 0; d < e.head_dim; ++d)
            out[i][d] /= sum;
        logsumexp[i] = max + std::log(sum);
    }
}

// With p_ij = exp(s_ij - logsumexp_i), s_ij = scale q_i k_j:
//   dv_j = sum_i p_ij dout_i,   ds_ij = p_ij (dout_i v_j - dout_i out_i),
//   dq_i = scale sum_j ds_ij k_j,   dk_j = scale sum_i ds_ij q_i.
void backward_head(const AttentionBackward& op, const AttentionExtents& e, std::int64_t b,
                   std::int64_t h)
{
    const HeadRows q = part_of_qkv(op.qkv, e, b, 0, h), k = part_of_qkv(op.qkv, e, b, 1, h),
                   v = part_of_qkv(op.qkv, e, b, 2, h), out = head_of(op.out, e, b, h),
                   dout = head_of(op.dout, e, b, h), dq = part_of_qkv(op.qkv_gradient, e, b, 0, h),
                   dk = part_of_qkv(op.qkv_gradient, e, b, 1, h),
                   dv = part_of_qkv(op.qkv_gradient, e, b, 2, h);
    const double* logsumexp = op.logsumexp.as<double>() + (b * e.heads + h) * e.positions;
    double* row_dot = op.row_dot.as<double>() + (b * e.heads + h) * e.positions;
    const double scale = 1.0 / std::sqrt(static_cast<double>(e.head_dim));

    for (std::int64_t i = 0; i < e.positions; ++i) {
        row_dot[i] = dot(dout[i], out[i], e.head_dim);
        for (std::int64_t j = 0; j <= i; ++j) {
            const double p = std::exp(scale * dot(q[i], k[j], e.head_dim) - logsumexp[i]);
            const double ds = p * (dot(dout[i], v[j], e.head_dim) - row_dot[i]);
            add_scaled(dv[j], p, dout[i], e.head_dim);
            add_scaled(dq[i], scale * ds, k[j], e.head_dim);
            add_scaled(dk[j], scale * ds, q[i], e.head_dim);
        }
    }
}

} // namespace

void run(Reference, const AttentionForward& op)
{
    const AttentionExtents e = extents_of(op);
    for (std::int64_t b = 0; b < e.sequences; ++b)
        for (std::int64_t h = 0; h < e.heads; ++h)
            forward_head(op, e, b, h);
}

void run(Reference, const AttentionBackward& op)
{
    const AttentionExtents e = extents_of(op);
    std::fill_n(op.qkv_gradient.as<double>(), op.qkv_gradient.num_elements(), 0.0);
    for (std::int64_t b = 0; b < e.sequences; ++b)
        for (std::int64_t h = 0; h < e.heads; ++h)
            backward_head(op, e, b, h);
    run(Reference{}, RotaryBackward{.qkv_gradient = op.qkv_gradient, .cos = op.cos, .sin = op.sin});
}

} // namespace sluice::kernels
