// The tensors of every operation, by name, and which of them it writes. An operation with a new
// member does not compile here until the member is listed.
#pragma once

#include "layers/kernels/extents.hpp"

#include <vector>

namespace sluice::testing {

struct NamedOperand {
    const char* name;
    TensorView view; ///< empty: not wanted
    bool written = false;
};
using Operands = std::vector<NamedOperand>;

inline NamedOperand written(const char* name, const TensorView& view) { return {name, view, true}; }

inline Operands operands_of(const kernels::AdamW& op)
{
    const auto& [weight, gradient, first, second, copy, scale, lr, beta1, beta2, eps, decay, c1, c2,
                 factors] = op;
    return {written("weight", weight),      {"gradient", gradient},
            written("first_moment", first), written("second_moment", second),
            written("compute_copy", copy),  {"factors", factors}};
}
inline Operands operands_of(const kernels::AttentionForward& op)
{
    const auto& [qkv, out, logsumexp] = op;
    return {{"qkv", qkv}, written("out", out), written("logsumexp", logsumexp)};
}
inline Operands operands_of(const kernels::AttentionBackward& op)
{
    const auto& [dout, qkv, out, logsumexp, row_dot, cos, sin, qkv_gradient] = op;
    return {{"dout", dout},
            {"qkv", qkv},
            {"out", out},
            {"logsumexp", logsumexp},
            written("row_dot", row_dot),
            {"cos", cos},
            {"sin", sin},
            written("qkv_gradient", qkv_gradient)};
}
inline Operands operands_of(const kernels::Checksum& op)
{
    const auto& [x, result] = op;
    return {{"x", x}, written("result", result)};
}
inline Operands operands_of(const kernels::CrossEntropy& op)
{
    const auto& [logits, targets, losses, scale] = op;
    return {{"logits", logits, scale != 0.0}, {"targets", targets}, written("losses", losses)};
}
inline Operands operands_of(const kernels::Copy& op)
{
    const auto& [from, to] = op;
    return {{"from", from}, written("to", to)};
}
inline Operands operands_of(const kernels::Fill& op)
{
    const auto& [to, value] = op;
    return {written("to", to)};
}
inline Operands operands_of(const kernels::Scale& op)
{
    const auto& [x, y, factor] = op;
    return {{"x", x}, written("y", y)};
}
inline Operands operands_of(const kernels::Add& op)
{
    const auto& [x, y] = op;
    return {{"x", x}, written("y", y)};
}
inline Operands operands_of(const kernels::EmbeddingForward& op)
{
    const auto& [tokens, table, out] = op;
    return {{"tokens", tokens}, {"table", table}, written("out", out)};
}
inline Operands operands_of(const kernels::EmbeddingBackward& op)
{
    const auto& [tokens, dout, table_gradient] = op;
    return {{"tokens", tokens}, {"dout", dout}, written("table_gradient", table_gradient)};
}
inline Operands operands_of(const kernels::Matmul& op)
{
    const auto& [a, b, out, addend, transpose_a, transpose_b, alpha, beta] = op;
    return {{"a", a}, {"b", b}, written("out", out), {"addend", addend}, {"alpha", alpha.memory}};
}
inline Operands operands_of(const kernels::RmsNormForward& op)
{
    const auto& [x, weight, addend, y, rstd, scale, eps] = op;
    return {{"x", x},        {"weight", weight},    {"addend", addend},
            written("y", y), written("rstd", rstd), {"scale", scale.memory}};
}
inline Operands operands_of(const kernels::RmsNormBackward& op)
{
    const auto& [dy, x, weight, rstd, addend, dx, weight_gradient, scale, beta] = op;
    return {{"dy", dy},
            {"x", x},
            {"weight", weight},
            {"rstd", rstd},
            written("dx", dx),
            {"addend", addend},
            written("weight_gradient", weight_gradient),
            {"scale", scale.memory}};
}
inline Operands operands_of(const kernels::RotaryTable& op)
{
    const auto& [cos, sin, base] = op;
    return {written("cos", cos), written("sin", sin)};
}
inline Operands operands_of(const kernels::RotaryForward& op)
{
    const auto& [qkv, cos, sin] = op;
    return {written("qkv", qkv), {"cos", cos}, {"sin", sin}};
}
inline Operands operands_of(const kernels::RotaryBackward& op)
{
    const auto& [qkv_gradient, cos, sin] = op;
    return {written("qkv_gradient", qkv_gradient), {"cos", cos}, {"sin", sin}};
}
inline Operands operands_of(const kernels::SumOfSquares& op)
{
    const auto& [x, results] = op;
    Operands all{written("results", results)};
    for (std::int64_t i = 0; i < results.num_elements(); ++i)
        all.push_back({"x", x[static_cast<std::size_t>(i)]});
    return all;
}
inline Operands operands_of(const kernels::SwigluForward& op)
{
    const auto& [gate_up, h] = op;
    return {{"gate_up", gate_up}, written("h", h)};
}
inline Operands operands_of(const kernels::SwigluBackward& op)
{
    const auto& [dh, gate_up, gate_up_gradient] = op;
    return {{"dh", dh}, {"gate_up", gate_up}, written("gate_up_gradient", gate_up_gradient)};
}

} // namespace sluice::testing
