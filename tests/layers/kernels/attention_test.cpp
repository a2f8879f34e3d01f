#include "layers/kernels/attention.hpp"

#include "core/bfloat16.hpp"
#include "tests/layers/kernels/attention_tensors.hpp"
#include "tests/layers/kernels/kernel_fixture.hpp"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <numbers>

using namespace sluice;
using namespace sluice::testing;
using kernels::AttentionBackward;
using kernels::AttentionForward;
using kernels::RotaryForward;

namespace {

struct Tensors : AttentionTensors<Twin> {
    Tensors(std::int64_t B, std::int64_t T, std::int64_t H, std::int64_t D, std::uint64_t seed,
            double scale = 1.0)
        : AttentionTensors<Twin>{.qkv = Twin::random({B, T, 3, H, D}, seed, scale),
                                 .out = Twin::poisoned({B, T, H, D}),
                                 .logsumexp = Twin::poisoned({B, H, T}),
                                 .dout = Twin::random({B, T, H, D}, seed + 1),
                                 .row_dot = Twin::poisoned({B, H, T}),
                                 .cos = Twin::poisoned({T + 1, D / 2}),
                                 .sin = Twin::poisoned({T + 1, D / 2}),
                                 .qkv_gradient = Twin::poisoned({B, T, 3, H, D})}
    {
        launch_both(table());
    }
};

TensorView in_float64(Twin& twin) { return twin.in_float64(); }
TensorView in_float32(Twin& twin) { return twin.in_float32(); }

/// float32 against float64 on standard normal inputs. A score is a sum of D products over sqrt(D),
/// off by a few epsilon; a weight by as much relative; sums over T weights that add to 1 stay
/// there, and D products of the backward pass add sqrt(D) of them, on gradients of a few units.
/// Turned back, two of them come together.
void check_agreement(std::int64_t B, std::int64_t T, std::int64_t H, std::int64_t D,
                     std::uint64_t seed)
{
    const std::string what =
        "B " + std::to_string(B) + " T " + std::to_string(T) + " D " + std::to_string(D);
    Tensors tensors(B, T, H, D, seed);
    launch_both(tensors.forward());
    check_close(tensors.out, 24 * epsilon, what + " out");
    check_close(tensors.logsumexp, 24 * epsilon, what + " logsumexp");
    launch_both(tensors.backward());
    const double sum_error = std::sqrt(static_cast<double>(D)) * epsilon;
    check_close(tensors.row_dot, 16 * sum_error, what + " row_dot");
    check_close(tensors.qkv_gradient, std::numbers::sqrt2 * 48 * sum_error, what + " qkv_gradient");
}

} // namespace

BOOST_AUTO_TEST_SUITE(attention)

BOOST_AUTO_TEST_CASE(reference_on_two_positions_by_hand)
{
    // D = 1: position 0 sees itself; position 1 has scores 2*1 and 2*3 and values 10 and 20.
    std::vector<double> qkv = {5, 1, 10, 2, 3, 20}, out(2), logsumexp(2);
    kernels::launch(reference, AttentionForward{.qkv = view_of(qkv.data(), {1, 2, 3, 1, 1}),
                                                .out = view_of(out.data(), {1, 2, 1, 1}),
                                                .logsumexp = view_of(logsumexp.data(), {1, 1, 2})});
    const double sum = std::exp(2.0) + std::exp(6.0);
    BOOST_TEST(out[0] == 10.0);
    BOOST_TEST(std::abs(out[1] - (std::exp(2.0) * 10 + std::exp(6.0) * 20) / sum) < 1e-13);
    BOOST_TEST(logsumexp[0] == 5.0);
    BOOST_TEST(std::abs(logsumexp[1] - std::log(sum)) < 1e-13);
}

BOOST_AUTO_TEST_CASE(reference_attention_gradient_agrees_with_differences)
{
    Tensors tensors(2, 5, 2, 4, 11);
    std::vector<double> before_rotation = tensors.qkv.values;
    const auto rotate_and_attend = [&] {
        tensors.qkv.values = before_rotation;
        kernels::launch(reference, RotaryForward{.qkv = tensors.qkv.in_float64(),
                                                 .cos = tensors.cos.in_float64(),
                                                 .sin = tensors.sin.in_float64()});
        kernels::launch(reference, tensors.forward()(in_float64));
    };
    rotate_and_attend();
    kernels::launch(reference, tensors.backward()(in_float64));
    check_gradient(before_rotation, tensors.qkv_gradient.values, [&] {
        rotate_and_attend();
        return dot(tensors.out.values, tensors.dout.values);
    });
}

BOOST_AUTO_TEST_CASE(cpu_attention_agrees_with_reference_at_every_edge)
{
    // Around lanes (8), panels (16), strips (6), blocks (96), and odd numbers of each.
    for (const std::int64_t T : {1, 2, 5, 6, 7, 8, 9, 15, 16, 17, 63, 64, 65, 95, 96, 97, 129, 200})
        check_agreement(1, T, 2, 16, static_cast<std::uint64_t>(T));
    for (const std::int64_t D : {2, 6, 8, 12, 32, 64, 80, 128, 256})
        for (const std::int64_t T : {1, 65, 129})
            check_agreement(1, T, 1, D, static_cast<std::uint64_t>(100 * D + T));
    check_agreement(3, 110, 3, 24, 7);
}

BOOST_AUTO_TEST_CASE(cpu_attention_survives_large_scores)
{
    // Scores of some hundreds: exp of any of them alone would overflow. Errors scale with scores.
    Tensors tensors(1, 130, 2, 32, 3, 8.0);
    launch_both(tensors.forward());
    check_close(tensors.out, 4e-3, "out");
    check_close(tensors.logsumexp, 1e-3, "logsumexp");
}

BOOST_AUTO_TEST_CASE(cpu_attention_gives_same_bits_on_any_threads)
{
    for (const std::int64_t T : {64, 200, 300})
        check_same_bits_on_any_threads([T] {
            Tensors tensors(2, T, 3, 32, 5);
            kernels::launch(cpu, tensors.forward()(in_float32));
            kernels::launch(cpu, tensors.backward()(in_float32));
            std::vector<float> all;
            for (const Twin* twin :
                 {&tensors.out, &tensors.logsumexp, &tensors.row_dot, &tensors.qkv_gradient})
                all.insert(all.end(), twin->floats().begin(), twin->floats().end());
            return all;
        });
}

std::vector<BFloat16> rounded(std::span<const float> floats)
{
    std::vector<BFloat16> halves;
    for (const float x : floats)
        halves.push_back(bfloat16_of(x));
    return halves;
}

void widen(const std::vector<BFloat16>& from, const TensorView& to)
{
    std::transform(from.begin(), from.end(), to.as<float>(), float_of);
}

BOOST_AUTO_TEST_CASE(cpu_attention_in_bfloat16_gives_same_bits_on_any_threads)
{
    constexpr std::int64_t B = 2, T = 700, H = 3, D = 24;
    check_same_bits_on_any_threads([] {
        Tensors t(B, T, H, D, 5);
        std::vector<BFloat16> qkv = rounded(t.qkv.floats()), dout = rounded(t.dout.floats());
        std::vector<BFloat16> out(dout.size()), gradient(qkv.size(), bfloat16_of(NAN));
        std::vector<float> logsumexp(B * H * T), row_dot(logsumexp.size());
        std::vector<float> ones(T * D / 2, 1.0F), zeros(T * D / 2, 0.0F);
        kernels::launch(cpu, AttentionForward{.qkv = view_of(qkv.data(), {B, T, 3, H, D}),
                                              .out = view_of(out.data(), {B, T, H, D}),
                                              .logsumexp = view_of(logsumexp.data(), {B, H, T})});
        kernels::launch(
            cpu, AttentionBackward{.dout = view_of(dout.data(), {B, T, H, D}),
                                   .qkv = view_of(qkv.data(), {B, T, 3, H, D}),
                                   .out = view_of(out.data(), {B, T, H, D}),
                                   .logsumexp = view_of(logsumexp.data(), {B, H, T}),
                                   .row_dot = view_of(row_dot.data(), {B, H, T}),
                                   .cos = view_of(ones.data(), {T, D / 2}),
                                   .sin = view_of(zeros.data(), {T, D / 2}),
                                   .qkv_gradient = view_of(gradient.data(), {B, T, 3, H, D})});
        std::vector<float> all = logsumexp;
        for (const auto* halves : {&out, &gradient})
            std::transform(halves->begin(), halves->end(), std::back_inserter(all), float_of);
        return all;
    });
}

BOOST_AUTO_TEST_CASE(outputs_in_bfloat16_over_many_blocks_of_keys)
{
    // The maximum of a row rises from block to block: half of the keys are longer than those
    // before.
    constexpr std::int64_t T = 2048, H = 1, D = 16;
    Tensors t(1, T, H, D, 12);
    for (std::int64_t i = T / 2 * 3 * H * D; i < T * 3 * H * D; ++i)
        if (i / (H * D) % 3 == 1)
            t.qkv.in_float32().as<float>()[i] *= 3.0F;
    std::vector<BFloat16> qkv = rounded(t.qkv.floats()), out(T * H * D, bfloat16_of(NAN));
    std::vector<float> logsumexp(H * T, NAN);
    widen(qkv, t.qkv.in_float32());
    kernels::launch(cpu, t.forward()(in_float32));
    kernels::launch(cpu, AttentionForward{.qkv = view_of(qkv.data(), {1, T, 3, H, D}),
                                          .out = view_of(out.data(), {1, T, H, D}),
                                          .logsumexp = view_of(logsumexp.data(), {1, H, T})});
    for (std::size_t i = 0; i < logsumexp.size(); ++i)
        BOOST_REQUIRE_SMALL(logsumexp[i] - t.logsumexp.floats()[i], 2e-5F);
    for (std::size_t i = 0; i < out.size(); ++i) // weights that add to 1, values up to 4
        BOOST_REQUIRE_SMALL(float_of(out[i]) - t.out.floats()[i], 0x1p-7F);
}

BOOST_AUTO_TEST_CASE(gradients_in_bfloat16_wait_in_float32)
{
    // The same bf16 inputs in both types, over eight blocks of keys. Each term of dq is off by a
    // random part of half an ulp, ds having been rounded, and so is their sum, rounded once more:
    // together sqrt(2) times the error of one rounding. A sum rounded behind every block of keys
    // would add up eight of them, smaller ones first: 2.3 times. Nothing is turned, which would
    // round in between.
    constexpr std::int64_t T = 2048, H = 1, D = 16;
    Tensors t(1, T, H, D, 11);
    std::vector<BFloat16> qkv = rounded(t.qkv.floats()), dout = rounded(t.dout.floats());
    widen(qkv, t.qkv.in_float32());
    widen(dout, t.dout.in_float32());
    std::fill_n(t.cos.in_float32().as<float>(), t.cos.floats().size(), 1.0F);
    std::fill_n(t.sin.in_float32().as<float>(), t.sin.floats().size(), 0.0F);
    kernels::launch(cpu, t.forward()(in_float32));
    std::vector<BFloat16> out = rounded(t.out.floats());
    widen(out, t.out.in_float32());
    kernels::launch(cpu, t.backward()(in_float32));
    const auto in_float = t.qkv_gradient.floats();

    std::vector<BFloat16> gradient(qkv.size(), bfloat16_of(NAN));
    std::vector<float> logsumexp(t.logsumexp.floats().begin(), t.logsumexp.floats().end());
    std::vector<float> row_dot(logsumexp.size());
    std::vector<float> ones(T * D / 2, 1.0F), zeros(T * D / 2, 0.0F);
    kernels::launch(cpu,
                    AttentionBackward{.dout = view_of(dout.data(), {1, T, H, D}),
                                      .qkv = view_of(qkv.data(), {1, T, 3, H, D}),
                                      .out = view_of(out.data(), {1, T, H, D}),
                                      .logsumexp = view_of(logsumexp.data(), {1, H, T}),
                                      .row_dot = view_of(row_dot.data(), {1, H, T}),
                                      .cos = view_of(ones.data(), {T, D / 2}),
                                      .sin = view_of(zeros.data(), {T, D / 2}),
                                      .qkv_gradient = view_of(gradient.data(), {1, T, 3, H, D})});
    const auto error_of = [&](std::int64_t tensor, std::int64_t first, std::int64_t end) {
        double errors = 0.0, roundings = 0.0; // mean squares
        for (std::int64_t position = first; position < end; ++position)
            for (std::int64_t c = 0; c < H * D; ++c) {
                const auto i = static_cast<std::size_t>((3 * position + tensor) * H * D + c);
                errors += std::pow(float_of(gradient[i]) - in_float[i], 2);
                roundings += std::pow(float_of(bfloat16_of(in_float[i])) - in_float[i], 2);
            }
        return std::sqrt(errors / roundings);
    };
    for (const std::int64_t tensor : {0, 1, 2}) { // dq, dk, dv where most blocks add to them
        const double error = tensor == 0 ? error_of(tensor, T - 256, T) : error_of(tensor, 0, 256);
        BOOST_TEST(error > 0.99, "tensor " << tensor << ": " << error);
        BOOST_TEST(error < 1.8, "tensor " << tensor << ": " << error);
    }
}

BOOST_AUTO_TEST_CASE(cpu_attention_never_looks_ahead)
{
    // Not a bit of the first 100 outputs changes when those from 100 on change.
    Tensors plain(1, 140, 1, 16, 9), broken(1, 140, 1, 16, 9);
    float* qkv = static_cast<float*>(broken.qkv.in_float32().data);
    std::fill_n(qkv + 100 * 48, 40 * 48, 30.0F);
    kernels::launch(cpu, plain.forward()(in_float32));
    kernels::launch(cpu, broken.forward()(in_float32));
    for (std::size_t i = 0; i < 100 * 16; ++i)
        BOOST_REQUIRE_EQUAL(plain.out.floats()[i], broken.out.floats()[i]);
    BOOST_TEST(plain.out.floats()[100 * 16] != broken.out.floats()[100 * 16]);
}

BOOST_AUTO_TEST_SUITE_END()
