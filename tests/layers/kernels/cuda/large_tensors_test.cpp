// Kernels whose blocks each write some rows, on tensors of more elements than 32 bits can count.
// RotaryTable is not here: its tables have a row per position of a sequence.
#include "tests/layers/kernels/cuda/tensor_ends.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;
using namespace sluice::kernels;
using namespace sluice::testing;

namespace {

/// 54e9 elements. Cut to 32 bits, with or without a sign, their numbers lead far from either end,
/// and so do those of the chunks of eight that some kernels count.
constexpr std::int64_t num_elements = (std::int64_t{3} << 34) + (std::int64_t{5} << 29);

/// With a tail in the last block, whatever it takes.
constexpr std::int64_t rows_of(std::int64_t row_length) { return num_elements / row_length + 1; }

/// With `body(dtype, row length)`: vectors, and single elements where rows are not whole chunks.
template <class Body>
void for_types_and_rows(std::int64_t aligned, std::int64_t unaligned, Body&& body)
{
    for (const DType dtype : large_types)
        for (const std::int64_t row_length : {aligned, unaligned})
            BOOST_TEST_CONTEXT(name_of(dtype) << ", rows of " << row_length)
            {
                body(dtype, row_length);
            }
}

constexpr std::int64_t flat_rows = 3000; // more than a block takes

} // namespace

BOOST_AUTO_TEST_SUITE(large_tensors)

BOOST_AUTO_TEST_CASE(elementwise)
{
    const Shape shape{num_elements + 5};
    for (const DType dtype : large_types) {
        TensorEnds x(shape, dtype, flat_rows), sum(shape, dtype, flat_rows);
        TensorEnds product(shape, dtype, flat_rows), filled(shape, dtype, flat_rows);
        x.fill(1);
        sum.fill(2);
        launch_at_ends([&](auto side) { return Add{.x = side(x), .y = side(sum)}; });
        launch_at_ends(
            [&](auto side) { return Scale{.x = side(x), .y = side(product), .factor = 3.0}; });
        launch_at_ends([&](auto side) { return Fill{.to = side(filled), .value = 0.5}; });
        sum.check(tolerance_of(dtype), "sum");
        product.check(tolerance_of(dtype), "product");
        filled.check(0.0, "filled");
    }
}

BOOST_AUTO_TEST_CASE(adamw)
{
    const Shape shape{num_elements + 5};
    for (const DType dtype : large_types) {
        TensorEnds weight(shape, dtype, flat_rows), gradient(shape, dtype, flat_rows);
        TensorEnds first(shape, dtype, flat_rows), second(shape, dtype, flat_rows);
        TensorEnds copy(shape, DType::bf16, flat_rows);
        weight.fill(1);
        gradient.fill(2);
        first.fill(3);
        second.fill(4, 0.5, 2.0);
        launch_at_ends([&](auto side) {
            AdamW op{.weight = side(weight),
                     .gradient = side(gradient),
                     .first_moment = side(first),
                     .second_moment = side(second),
                     .lr = 0.5,
                     .weight_decay = 0.1};
            if (op.weight.dtype != DType::f64) // the reference makes no copies
                op.compute_copy = side(copy);
            return op;
        });
        launch(Stream{.backend = Backend::reference},
               Copy{.from = weight.for_reference(), .to = copy.for_reference()});
        weight.check(tolerance_of(dtype), "weight");
        first.check(tolerance_of(dtype), "first moment");
        second.check(tolerance_of(dtype), "second moment");
        copy.check(tolerance_of(DType::bf16), "copy");
    }
}

BOOST_AUTO_TEST_CASE(swiglu)
{
    for_types_and_rows(64, 60, [](DType dtype, std::int64_t channels) {
        const std::int64_t rows = rows_of(channels), there = 40;
        TensorEnds gate_up({rows, 2 * channels}, dtype, there), h({rows, channels}, dtype, there);
        TensorEnds dh({rows, channels}, dtype, there), gradient({rows, 2 * channels}, dtype, there);
        gate_up.fill(1);
        dh.fill(2);
        launch_at_ends(
            [&](auto side) { return SwigluForward{.gate_up = side(gate_up), .h = side(h)}; });
        launch_at_ends([&](auto side) {
            return SwigluBackward{
                .dh = side(dh), .gate_up = side(gate_up), .gate_up_gradient = side(gradient)};
        });
        h.check(tolerance_of(dtype), "h");
        gradient.check(tolerance_of(dtype), "gradient");
    });
}

BOOST_AUTO_TEST_CASE(rms_norm)
{
    // In registers, of one warp and of eight; and too long for them.
    for (const std::int64_t longest : {64, 4096, 8192})
        for_types_and_rows(longest, longest - 2, [](DType dtype, std::int64_t channels) {
            const std::int64_t rows = rows_of(channels), there = 10;
            TensorEnds x({rows, channels}, dtype, there), addend({rows, channels}, dtype, there);
            TensorEnds y({rows, channels}, dtype, there), rstd({rows}, DType::f32, there);
            TensorEnds weight = TensorEnds::whole({channels}, dtype);
            x.fill(1);
            addend.fill(2);
            weight.fill(3);
            launch_at_ends([&](auto side) {
                return RmsNormForward{.x = side(x),
                                      .weight = side(weight),
                                      .addend = side(addend),
                                      .y = side(y),
                                      .rstd = side(rstd)};
            });
            y.check(tolerance_of(dtype), "y");
            rstd.check(tolerance_of(dtype), "rstd");
        });
}

BOOST_AUTO_TEST_CASE(cross_entropy)
{
    // In registers, and too long for them.
    for (const std::int64_t longest : {1024, 40960})
        for_types_and_rows(longest, longest - 2, [](DType dtype, std::int64_t vocabulary) {
            const std::int64_t rows = rows_of(vocabulary), there = 2;
            TensorEnds logits({rows, vocabulary}, dtype, there);
            TensorEnds targets({rows}, DType::i32, there), losses({rows}, DType::f64, there);
            logits.fill(1);
            for (std::int64_t n = 0; n < 2 * there; ++n)
                targets.set_id(n, vocabulary - 1 - n, vocabulary - 1 - n);
            launch_at_ends([&](auto side) {
                return CrossEntropy{.logits = side(logits),
                                    .targets = side(targets),
                                    .losses = side(losses),
                                    .gradient_scale = static_cast<double>(vocabulary)};
            });
            logits.check(tolerance_of(dtype), "gradient");
            losses.check(1e-5, "losses");
        });
}

BOOST_AUTO_TEST_CASE(rotary)
{
    // Blocks of eight tokens, two of them at each end: all of a sequence at least.
    const std::int64_t positions = 5, heads = 3, there = 4, blocks = 2;
    for_types_and_rows(32, 30, [&](DType dtype, std::int64_t head_dim) {
        const Shape table{positions, head_dim / 2};
        const Shape shape{rows_of(positions * 3 * heads * head_dim), positions, 3, heads, head_dim};
        TensorEnds qkv(shape, dtype, there), gradient(shape, dtype, there);
        TensorEnds cosines = TensorEnds::whole(table, DType::f32),
                   sines = TensorEnds::whole(table, DType::f32);
        qkv.fill(1);
        gradient.fill(2);
        cosines.fill(3, 0.5);
        sines.fill(4, 0.5);
        launch_at_ends(
            [&](auto side) {
                return RotaryForward{.qkv = side(qkv), .cos = side(cosines), .sin = side(sines)};
            },
            blocks);
        launch_at_ends(
            [&](auto side) {
                return RotaryBackward{
                    .qkv_gradient = side(gradient), .cos = side(cosines), .sin = side(sines)};
            },
            blocks);
        qkv.check(tolerance_of(dtype), "qkv");
        gradient.check(tolerance_of(dtype), "gradient");
    });
}

BOOST_AUTO_TEST_CASE(embedding)
{
    for_types_and_rows(64, 60, [](DType dtype, std::int64_t channels) {
        const std::int64_t rows = rows_of(channels), there = 40;
        TensorEnds tokens({rows}, DType::i32, there), table({rows, channels}, dtype, there);
        TensorEnds out({rows, channels}, dtype, there);
        table.fill(1);
        for (std::int64_t n = 0; n < 2 * there; ++n) // each row once, the last ones first
            tokens.set_id(n, n < there ? rows - 1 - n : 2 * there - 1 - n, 2 * there - 1 - n);
        launch_at_ends([&](auto side) {
            return EmbeddingForward{.tokens = side(tokens), .table = side(table), .out = side(out)};
        });
        out.check(0.0, "out");
    });
}

BOOST_AUTO_TEST_CASE(attention)
{
    // Heads of 64 and 128 in bf16 are the tensor cores'. Each kernel's blocks at an end are those
    // of the same sequences, eight or fewer: a head of a sequence, 32 rows of [B,T,H], eight of
    // [B,T].
    const std::int64_t positions = 16, heads = 2, there = 10, blocks = 8;
    for (const std::int64_t head_dim : {64, 128, 20})
        for (const DType dtype : large_types) {
            const std::int64_t sequences = rows_of(positions * 3 * heads * head_dim);
            const Shape qkv_shape{sequences, positions, 3, heads, head_dim};
            const Shape shape{sequences, positions, heads, head_dim};
            const Shape statistics{sequences, heads, positions}, table{positions, head_dim / 2};
            TensorEnds qkv(qkv_shape, dtype, there), out(shape, dtype, there),
                logsumexp(statistics, DType::f32, there), dout(shape, dtype, there),
                some_out(shape, dtype, there), some_logsumexp(statistics, DType::f32, there),
                row_dot(statistics, DType::f32, there), gradient(qkv_shape, dtype, there),
                cosines = TensorEnds::whole(table, DType::f32),
                sines = TensorEnds::whole(table, DType::f32);
            qkv.fill(1, 0.5);
            dout.fill(2, 0.5);
            some_out.fill(3, 0.5); // what the forward pass left in the middle is not there
            some_logsumexp.fill(4, 0.5, 3.0);
            cosines.fill(5, 0.5);
            sines.fill(6, 0.5);
            launch_at_ends(
                [&](auto side) {
                    return AttentionForward{
                        .qkv = side(qkv), .out = side(out), .logsumexp = side(logsumexp)};
                },
                blocks);
            launch_at_ends(
                [&](auto side) {
                    return AttentionBackward{.dout = side(dout),
                                             .qkv = side(qkv),
                                             .out = side(some_out),
                                             .logsumexp = side(some_logsumexp),
                                             .row_dot = side(row_dot),
                                             .cos = side(cosines),
                                             .sin = side(sines),
                                             .qkv_gradient = side(gradient)};
                },
                blocks);
            BOOST_TEST_CONTEXT(name_of(dtype) << ", heads of " << head_dim)
            {
                out.check(tolerance_of(dtype), "out");
                logsumexp.check(1e-4, "logsumexp");
                row_dot.check(1e-4, "row_dot");
                gradient.check(tolerance_of(dtype), "gradient");
            }
        }
}

BOOST_AUTO_TEST_SUITE_END()
