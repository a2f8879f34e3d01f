// Every kernel in float32, products and attention also in bfloat16, at the shapes of llama-71m and
// 1024 tokens, on random numbers.
//
// usage: OMP_NUM_THREADS=2 sluice_kernels_benchmark [--benchmark_filter=REGEX] ...
//
// GFLOP/s for products and attention (causal: half of the full square), GB/s of memory an ideal
// implementation touches once for the others. best_sgemm is oneDNN left alone with a big product:
// the rate that the products are held against.
#include "core/arena.hpp"
#include "core/bfloat16.hpp"
#include "core/checksum.hpp"
#include "core/parallel.hpp"
#include "core/random.hpp"
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

#include <benchmark/benchmark.h>
#include <dnnl.h>
#include <functional>
#include <string>
#include <vector>

namespace {

using namespace sluice;
using namespace sluice::kernels;

constexpr std::int64_t num_tokens = 1024, hidden = 512, intermediate = 1368, vocabulary = 32000,
                       num_heads = 8, head_dim = 64;
constexpr Stream stream{.backend = Backend::cpu};

/// Owned memory with random contents, aligned as a stage's is.
class Array {
public:
    explicit Array(const Shape& shape, DType dtype = DType::f32)
        : arena_(aligned_bytes(static_cast<std::size_t>(shape.num_elements()) * size_of(dtype)),
                 Device{}),
          view_(arena_.allocate(dtype, shape))
    {
        const RandomStream random(1, "benchmark");
        for (std::int64_t i = 0; i < shape.num_elements(); ++i) {
            const auto value =
                static_cast<float>(random.uniform(static_cast<std::uint64_t>(i)) - 0.5);
            if (dtype == DType::bf16)
                view_.as<BFloat16>()[i] = bfloat16_of(value);
            else
                data()[i] = value;
        }
    }
    const TensorView& view() const { return view_; }
    float* data() const { return view_.as<float>(); }

private:
    Arena arena_;
    TensorView view_;
};

std::vector<std::int32_t> random_ids()
{
    const RandomStream random(2, "benchmark");
    std::vector<std::int32_t> ids;
    for (std::uint64_t i = 0; i < num_tokens; ++i)
        ids.push_back(static_cast<std::int32_t>(random.bits(i) % vocabulary));
    return ids;
}

void report_flops(benchmark::State& state, double flops)
{
    state.counters["GFLOP/s"] =
        benchmark::Counter(flops * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

void report_floats(benchmark::State& state, std::int64_t floats_touched)
{
    state.counters["GB/s"] = benchmark::Counter(static_cast<double>(floats_touched) * 4e-9,
                                                benchmark::Counter::kIsIterationInvariantRate);
}

void best_sgemm(benchmark::State& state)
{
    constexpr std::int64_t n = 3072;
    Array a({n, n}), b({n, n}), c({n, n});
    for (auto _ : state)
        dnnl_sgemm('N', 'N', n, n, n, 1.0F, a.data(), n, b.data(), n, 0.0F, c.data(), n);
    report_flops(state, 2.0 * n * n * n);
}

/// y = x W^T for a weight [out,in], its input gradient and its weight gradient.
void linear_forward(benchmark::State& state, DType dtype, std::int64_t out, std::int64_t in)
{
    Array x({num_tokens, in}, dtype), weight({out, in}, dtype), y({num_tokens, out}, dtype);
    for (auto _ : state)
        launch(stream, Matmul{.a = x.view(),
                              .b = weight.view(),
                              .out = y.view(),
                              .transpose_b = Transpose::yes});
    report_flops(state, 2.0 * static_cast<double>(num_tokens * out * in));
}

void linear_backward_input(benchmark::State& state, DType dtype, std::int64_t out, std::int64_t in)
{
    Array dx({num_tokens, in}, dtype), weight({out, in}, dtype), dy({num_tokens, out}, dtype);
    for (auto _ : state)
        launch(stream, Matmul{.a = dy.view(), .b = weight.view(), .out = dx.view()});
    report_flops(state, 2.0 * static_cast<double>(num_tokens * out * in));
}

void linear_backward_weight(benchmark::State& state, DType dtype, std::int64_t out, std::int64_t in)
{
    Array x({num_tokens, in}, dtype), gradient({out, in}), dy({num_tokens, out}, dtype);
    for (auto _ : state)
        launch(stream, Matmul{.a = dy.view(),
                              .b = x.view(),
                              .out = gradient.view(),
                              .addend = gradient.view(),
                              .transpose_a = Transpose::yes});
    report_flops(state, 2.0 * static_cast<double>(num_tokens * out * in));
}

double attention_flops()
{
    return 2.0 * static_cast<double>(num_heads * num_tokens * (num_tokens + 1) * head_dim);
}

struct AttentionArrays {
    DType dtype;
    Array qkv{{1, num_tokens, 3, num_heads, head_dim}, dtype},
        out{{1, num_tokens, num_heads, head_dim}, dtype},
        dout{{1, num_tokens, num_heads, head_dim}, dtype}, logsumexp{{1, num_heads, num_tokens}},
        row_dot{{1, num_heads, num_tokens}},
        gradient{{1, num_tokens, 3, num_heads, head_dim}, dtype}, cos{{num_tokens, head_dim / 2}},
        sin{{num_tokens, head_dim / 2}};

    void forward()
    {
        launch(stream, AttentionForward{
                           .qkv = qkv.view(), .out = out.view(), .logsumexp = logsumexp.view()});
    }
    void backward()
    {
        launch(stream, AttentionBackward{.dout = dout.view(),
                                         .qkv = qkv.view(),
                                         .out = out.view(),
                                         .logsumexp = logsumexp.view(),
                                         .row_dot = row_dot.view(),
                                         .cos = cos.view(),
                                         .sin = sin.view(),
                                         .qkv_gradient = gradient.view()});
    }
};

void attention_forward(benchmark::State& state, DType dtype)
{
    AttentionArrays arrays{dtype};
    for (auto _ : state)
        arrays.forward();
    report_flops(state, attention_flops());
}

void attention_backward(benchmark::State& state, DType dtype)
{
    AttentionArrays arrays{dtype};
    arrays.forward();
    for (auto _ : state)
        arrays.backward();
    report_flops(state, 2.5 * attention_flops());
}

void rms_norm_forward(benchmark::State& state)
{
    Array x({num_tokens, hidden}), weight({hidden}), y({num_tokens, hidden}), rstd({num_tokens});
    for (auto _ : state)
        launch(stream, RmsNormForward{.x = x.view(),
                                      .weight = weight.view(),
                                      .addend = {},
                                      .y = y.view(),
                                      .rstd = rstd.view()});
    report_floats(state, 2 * num_tokens * hidden);
}

void rms_norm_backward(benchmark::State& state)
{
    Array dy({num_tokens, hidden}), x({num_tokens, hidden}), addend({num_tokens, hidden}),
        dx({num_tokens, hidden}), weight({hidden}), gradient({hidden}), rstd({num_tokens});
    for (auto _ : state)
        launch(stream, RmsNormBackward{.dy = dy.view(),
                                       .x = x.view(),
                                       .weight = weight.view(),
                                       .rstd = rstd.view(),
                                       .addend = addend.view(),
                                       .dx = dx.view(),
                                       .weight_gradient = gradient.view()});
    report_floats(state, 4 * num_tokens * hidden);
}

void rotary_forward(benchmark::State& state)
{
    Array qkv({1, num_tokens, 3, num_heads, head_dim}), cos({num_tokens, head_dim / 2}),
        sin({num_tokens, head_dim / 2});
    launch(stream, RotaryTable{.cos = cos.view(), .sin = sin.view()});
    for (auto _ : state)
        launch(stream, RotaryForward{.qkv = qkv.view(), .cos = cos.view(), .sin = sin.view()});
    report_floats(state, 4 * num_tokens * hidden);
}

void swiglu_forward(benchmark::State& state)
{
    Array gate_up({num_tokens, 2 * intermediate}), h({num_tokens, intermediate});
    for (auto _ : state)
        launch(stream, SwigluForward{.gate_up = gate_up.view(), .h = h.view()});
    report_floats(state, 3 * num_tokens * intermediate);
}

void swiglu_backward(benchmark::State& state)
{
    Array gate_up({num_tokens, 2 * intermediate}), dh({num_tokens, intermediate}),
        gradient({num_tokens, 2 * intermediate});
    for (auto _ : state)
        launch(stream, SwigluBackward{.dh = dh.view(),
                                      .gate_up = gate_up.view(),
                                      .gate_up_gradient = gradient.view()});
    report_floats(state, 5 * num_tokens * intermediate);
}

void cross_entropy(benchmark::State& state)
{
    Array logits({num_tokens, vocabulary});
    std::vector<std::int32_t> targets = random_ids();
    std::vector<double> losses(num_tokens);
    for (auto _ : state)
        launch(stream, CrossEntropy{.logits = logits.view(),
                                    .targets = view_of(targets.data(), {num_tokens}),
                                    .losses = view_of(losses.data(), {num_tokens}),
                                    .gradient_scale = 1.0});
    report_floats(state, 2 * num_tokens * vocabulary);
}

void embedding_forward(benchmark::State& state)
{
    Array table({vocabulary, hidden}), out({num_tokens, hidden});
    std::vector<std::int32_t> tokens = random_ids();
    for (auto _ : state)
        launch(stream, EmbeddingForward{.tokens = view_of(tokens.data(), {num_tokens}),
                                        .table = table.view(),
                                        .out = out.view()});
    report_floats(state, 2 * num_tokens * hidden);
}

void embedding_backward(benchmark::State& state)
{
    Array gradient({vocabulary, hidden}), dout({num_tokens, hidden});
    std::vector<std::int32_t> tokens = random_ids();
    for (auto _ : state)
        launch(stream, EmbeddingBackward{.tokens = view_of(tokens.data(), {num_tokens}),
                                         .dout = dout.view(),
                                         .table_gradient = gradient.view()});
    report_floats(state, 3 * num_tokens * hidden);
}

void adamw(benchmark::State& state)
{
    const Shape shape = {vocabulary, hidden};
    Array weight(shape), gradient(shape), first_moment(shape), second_moment(shape);
    launch(stream, Fill{.to = second_moment.view(), .value = 0.1});
    for (auto _ : state)
        launch(stream, AdamW{.weight = weight.view(),
                             .gradient = gradient.view(),
                             .first_moment = first_moment.view(),
                             .second_moment = second_moment.view(),
                             .lr = 1e-3,
                             .weight_decay = 0.1,
                             .bias_correction1 = 0.5,
                             .bias_correction2 = 0.5});
    report_floats(state, 7 * vocabulary * hidden);
}

void sum_of_squares(benchmark::State& state)
{
    Array x({vocabulary, hidden});
    double result = 0.0;
    for (auto _ : state)
        launch(stream, SumOfSquares{.x = {x.view()}, .results = view_of(&result, {1})});
    report_floats(state, vocabulary * hidden);
}

void checksum(benchmark::State& state)
{
    Array x({num_tokens, hidden});
    double result = 0.0;
    for (auto _ : state)
        launch(stream, sluice::kernels::Checksum{.x = x.view(), .result = view_of(&result, {1})});
    report_floats(state, num_tokens * hidden);
}

/// What checkpoints and files are compared by.
void checksum_xxh3(benchmark::State& state)
{
    Array x({num_tokens, hidden});
    const std::span bytes(static_cast<const std::byte*>(x.view().data), x.view().num_bytes());
    for (auto _ : state)
        benchmark::DoNotOptimize(sluice::checksum_of(bytes));
    report_floats(state, num_tokens * hidden);
}

void fill(benchmark::State& state)
{
    Array to({vocabulary, hidden});
    for (auto _ : state)
        launch(stream, Fill{.to = to.view(), .value = 0.0});
    report_floats(state, vocabulary * hidden);
}

void copy(benchmark::State& state)
{
    Array from({vocabulary, hidden}), to({vocabulary, hidden});
    for (auto _ : state)
        launch(stream, Copy{.from = from.view(), .to = to.view()});
    report_floats(state, 2 * vocabulary * hidden);
}

void scale(benchmark::State& state)
{
    Array x({num_tokens, hidden}), y({num_tokens, hidden});
    for (auto _ : state)
        launch(stream, Scale{.x = x.view(), .y = y.view(), .factor = 0.5});
    report_floats(state, 2 * num_tokens * hidden);
}

std::string in_type(DType dtype) { return dtype == DType::f32 ? "" : "[bf16]"; }

void add(const std::string& name, const std::function<void(benchmark::State&)>& function)
{
    benchmark::RegisterBenchmark(name.c_str(), function)
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
}

void add_linear(const std::string& name, DType dtype, std::int64_t out, std::int64_t in)
{
    using Pass = void (*)(benchmark::State&, DType, std::int64_t, std::int64_t);
    const std::pair<const char*, Pass> passes[] = {{"forward", linear_forward},
                                                   {"backward_input", linear_backward_input},
                                                   {"backward_weight", linear_backward_weight}};
    for (const auto& [pass_name, pass] : passes)
        benchmark::RegisterBenchmark(
            ("matmul" + in_type(dtype) + "/" + name + "/" + pass_name).c_str(),
            [pass = pass, dtype, out, in](benchmark::State& state) { pass(state, dtype, out, in); })
            ->UseRealTime()
            ->Unit(benchmark::kMillisecond);
}

} // namespace

int main(int argc, char** argv)
{
    add("best_sgemm", best_sgemm);
    for (const DType dtype : {DType::f32, DType::bf16}) {
        add_linear("qkv", dtype, 3 * hidden, hidden);
        add_linear("attention_out", dtype, hidden, hidden);
        add_linear("gate_up", dtype, 2 * intermediate, hidden);
        add_linear("down", dtype, hidden, intermediate);
        add_linear("head", dtype, vocabulary, hidden);
        const auto of_type = [dtype](void (*pass)(benchmark::State&, DType)) {
            return [=](benchmark::State& state) { pass(state, dtype); };
        };
        add("attention" + in_type(dtype) + "/forward", of_type(attention_forward));
        add("attention" + in_type(dtype) + "/backward", of_type(attention_backward));
    }
    add("rms_norm/forward", rms_norm_forward);
    add("rms_norm/backward", rms_norm_backward);
    add("rotary/forward", rotary_forward);
    add("swiglu/forward", swiglu_forward);
    add("swiglu/backward", swiglu_backward);
    add("cross_entropy", cross_entropy);
    add("embedding/forward", embedding_forward);
    add("embedding/backward", embedding_backward);
    add("adamw", adamw);
    add("sum_of_squares", sum_of_squares);
    add("checksum", checksum);
    add("checksum_xxh3", checksum_xxh3);
    add("fill", fill);
    add("copy", copy);
    add("scale", scale);
    benchmark::AddCustomContext("threads", std::to_string(sluice::num_threads()));
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv))
        return 2;
    benchmark::RunSpecifiedBenchmarks();
}
