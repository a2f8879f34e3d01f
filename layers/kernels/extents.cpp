#include "layers/kernels/extents.hpp"

#include <algorithm>

namespace sluice::kernels {

namespace {

void check_elements(const TensorView& tensor, std::int64_t expected, const char* name)
{
    SLUICE_CHECK(!tensor.empty() || expected == 0, name << " is empty");
    SLUICE_CHECK(tensor.num_elements() == expected,
                 name << " is " << tensor.shape.text() << ", expected " << expected << " elements");
}

void check_elements_or_empty(const TensorView& tensor, std::int64_t expected, const char* name)
{
    if (!tensor.empty())
        check_elements(tensor, expected, name);
}

RowExtents rows_of(const TensorView& tensor, std::int64_t channels, const char* name)
{
    SLUICE_CHECK(channels > 0 && tensor.num_elements() % channels == 0,
                 name << " is " << tensor.shape.text() << " with " << channels << " channels");
    return {tensor.num_elements() / channels, channels};
}

AttentionExtents heads_of(const TensorView& qkv)
{
    SLUICE_CHECK(qkv.shape.rank() == 5 && qkv.shape[2] == 3 && !qkv.empty(),
                 "qkv is " << qkv.shape.text() << ", expected [B,T,3,H,D]");
    return {qkv.shape[0], qkv.shape[1], qkv.shape[3], qkv.shape[4]};
}

AttentionExtents rotary_extents(const TensorView& qkv, const TensorView& cos, const TensorView& sin)
{
    const AttentionExtents e = heads_of(qkv);
    const std::int64_t half = e.head_dim / 2;
    SLUICE_CHECK(e.head_dim % 2 == 0, "head_dim " << e.head_dim << " is odd");
    SLUICE_CHECK(cos.num_elements() >= e.positions * half && cos.shape == sin.shape &&
                     cos.num_elements() % half == 0,
                 "cos " << cos.shape.text() << ", sin " << sin.shape.text() << ", qkv "
                        << qkv.shape.text());
    return e;
}

EmbeddingExtents embedding_extents(const TensorView& tokens, const TensorView& table,
                                   const TensorView& rows)
{
    SLUICE_CHECK(table.shape.rank() == 2, "table is " << table.shape.text());
    const EmbeddingExtents e{tokens.num_elements(), table.shape[0], table.shape[1]};
    check_elements(rows, e.tokens * e.channels, "rows");
    return e;
}

} // namespace

MatmulExtents extents_of(const Matmul& op)
{
    SLUICE_CHECK(op.a.shape.rank() == 2 && op.b.shape.rank() == 2,
                 "a " << op.a.shape.text() << ", b " << op.b.shape.text());
    const bool at = op.transpose_a == Transpose::yes, bt = op.transpose_b == Transpose::yes;
    const MatmulExtents e{op.a.shape[at ? 1 : 0], op.b.shape[bt ? 0 : 1], op.a.shape[at ? 0 : 1]};
    SLUICE_CHECK(op.b.shape[bt ? 1 : 0] == e.k,
                 "inner extents differ: a " << op.a.shape.text() << (at ? "^T" : "") << ", b "
                                            << op.b.shape.text() << (bt ? "^T" : ""));
    check_elements(op.out, e.m * e.n, "out");
    check_elements_or_empty(op.addend, e.m * e.n, "addend");
    check_elements_or_empty(op.alpha.memory, 1, "alpha");
    return e;
}

RowExtents extents_of(const RmsNormForward& op)
{
    const RowExtents e = rows_of(op.x, op.weight.num_elements(), "x");
    check_elements(op.y, e.rows * e.channels, "y");
    check_elements_or_empty(op.addend, e.rows * e.channels, "addend");
    check_elements(op.rstd, e.rows, "rstd");
    check_elements_or_empty(op.scale.memory, 1, "scale");
    return e;
}

RowExtents extents_of(const RmsNormBackward& op)
{
    const RowExtents e = rows_of(op.x, op.weight.num_elements(), "x");
    check_elements(op.dy, e.rows * e.channels, "dy");
    check_elements(op.dx, e.rows * e.channels, "dx");
    check_elements_or_empty(op.addend, e.rows * e.channels, "addend");
    check_elements(op.rstd, e.rows, "rstd");
    check_elements_or_empty(op.scale.memory, 1, "scale");
    check_elements(op.weight_gradient, e.channels, "weight_gradient");
    return e;
}

RowExtents extents_of(const SwigluForward& op)
{
    SLUICE_CHECK(op.h.shape.rank() >= 1, "h is " << op.h.shape.text());
    const RowExtents e = rows_of(op.h, op.h.shape[op.h.shape.rank() - 1], "h");
    check_elements(op.gate_up, 2 * e.rows * e.channels, "gate_up");
    return e;
}

RowExtents extents_of(const SwigluBackward& op)
{
    SLUICE_CHECK(op.dh.shape.rank() >= 1, "dh is " << op.dh.shape.text());
    const RowExtents e = rows_of(op.dh, op.dh.shape[op.dh.shape.rank() - 1], "dh");
    check_elements(op.gate_up, 2 * e.rows * e.channels, "gate_up");
    check_elements(op.gate_up_gradient, 2 * e.rows * e.channels, "gate_up_gradient");
    return e;
}

RowExtents extents_of(const CrossEntropy& op)
{
    SLUICE_CHECK(op.logits.shape.rank() >= 1, "logits is " << op.logits.shape.text());
    const std::int64_t vocabulary = op.logits.shape[op.logits.shape.rank() - 1];
    const RowExtents e = rows_of(op.logits, vocabulary, "logits");
    check_elements(op.targets, e.rows, "targets");
    check_elements(op.losses, e.rows, "losses");
    return e;
}

EmbeddingExtents extents_of(const EmbeddingForward& op)
{
    return embedding_extents(op.tokens, op.table, op.out);
}

EmbeddingExtents extents_of(const EmbeddingBackward& op)
{
    return embedding_extents(op.tokens, op.table_gradient, op.dout);
}

AttentionExtents extents_of(const RotaryForward& op)
{
    return rotary_extents(op.qkv, op.cos, op.sin);
}

AttentionExtents extents_of(const RotaryBackward& op)
{
    return rotary_extents(op.qkv_gradient, op.cos, op.sin);
}

AttentionExtents extents_of(const AttentionForward& op)
{
    const AttentionExtents e = heads_of(op.qkv);
    const std::int64_t rows = e.sequences * e.heads * e.positions;
    check_elements(op.out, rows * e.head_dim, "out");
    check_elements(op.logsumexp, rows, "logsumexp");
    return e;
}

AttentionExtents extents_of(const AttentionBackward& op)
{
    const AttentionExtents e = rotary_extents(op.qkv, op.cos, op.sin);
    const std::int64_t rows = e.sequences * e.heads * e.positions;
    check_elements(op.dout, rows * e.head_dim, "dout");
    check_elements(op.out, rows * e.head_dim, "out");
    check_elements(op.logsumexp, rows, "logsumexp");
    check_elements(op.row_dot, rows, "row_dot");
    check_elements(op.qkv_gradient, 3 * rows * e.head_dim, "qkv_gradient");
    return e;
}

RowExtents extents_of(const RotaryTable& op)
{
    SLUICE_CHECK(op.cos.shape.rank() == 2 && op.cos.shape == op.sin.shape,
                 "cos " << op.cos.shape.text() << ", sin " << op.sin.shape.text());
    return {op.cos.shape[0], op.cos.shape[1]};
}

std::int64_t extents_of(const AdamW& op)
{
    const std::int64_t n = op.weight.num_elements();
    check_elements(op.gradient, n, "gradient");
    check_elements(op.first_moment, n, "first_moment");
    check_elements(op.second_moment, n, "second_moment");
    check_elements_or_empty(op.compute_copy, n, "compute_copy");
    check_elements_or_empty(op.factors, num_adamw_factors, "factors");
    return n;
}

std::int64_t extents_of(const Copy& op)
{
    check_elements(op.to, op.from.num_elements(), "to");
    return op.from.num_elements();
}

std::int64_t extents_of(const Scale& op)
{
    check_elements(op.y, op.x.num_elements(), "y");
    return op.x.num_elements();
}

std::int64_t extents_of(const Add& op)
{
    check_elements(op.y, op.x.num_elements(), "y");
    return op.x.num_elements();
}

std::int64_t extents_of(const SumOfSquares& op)
{
    const std::int64_t count = op.results.num_elements();
    SLUICE_CHECK(count > 0 && count <= SumOfSquares::most_tensors && op.results.dtype == DType::f64,
                 count << " sums in " << name_of(op.results.dtype));
    for (std::int64_t i = 0; i < count; ++i) {
        const TensorView& x = op.x[static_cast<std::size_t>(i)];
        SLUICE_CHECK(!x.empty() && x.dtype == op.x.front().dtype,
                     "x[" << i << "] of " << x.num_elements() << " " << name_of(x.dtype));
    }
    return count;
}

void check_ids(const TensorView& ids, std::int64_t num_ids)
{
    for (const std::int32_t id : ids.elements<std::int32_t>())
        SLUICE_CHECK(id >= 0 && id < num_ids, "id " << id << " of " << num_ids);
}

} // namespace sluice::kernels
