#include "benchmarks/gpu_kernels.hpp"

#include "core/bfloat16.hpp"
#include "core/compute_stream.hpp"
#include "core/random.hpp"
#include "layers/kernels/adamw.hpp"
#include "layers/kernels/attention.hpp"
#include "layers/kernels/checksum.hpp"
#include "layers/kernels/cross_entropy.hpp"
#include "layers/kernels/cudnn_attention.hpp"
#include "layers/kernels/elementwise.hpp"
#include "layers/kernels/embedding.hpp"
#include "layers/kernels/matmul.hpp"
#include "layers/kernels/rms_norm.hpp"
#include "layers/kernels/rotary.hpp"
#include "layers/kernels/sum_of_squares.hpp"
#include "layers/kernels/swiglu.hpp"

#include <algorithm>
#include <cmath>

namespace sluice {

namespace {

using kernels::Transpose;

double bytes_of(std::initializer_list<TensorView> touched)
{
    double sum = 0.0;
    for (const TensorView& tensor : touched)
        sum += static_cast<double>(tensor.num_bytes());
    return sum;
}

template <class Op>
void measure(KernelUnderTest& test, double amount, WorkUnit unit, const Op& op)
{
    test.amount = amount;
    test.unit = unit;
    test.launch = [stream = test.stream(), op] { kernels::launch(stream, op); };
}

/// y = x W^T for a weight [out,in], and the gradients of x and W.
void add_linear(std::vector<KernelBenchmark>& all, const std::string& name, std::int64_t tokens,
                std::int64_t out, std::int64_t in, DType dtype)
{
    const double flops = 2.0 * static_cast<double>(tokens * out * in);
    all.push_back({name + " forward", dtype, [=](KernelUnderTest& test) {
                       measure(test, flops, WorkUnit::flops,
                               kernels::Matmul{.a = test.random({tokens, in}, dtype),
                                               .b = test.random({out, in}, dtype),
                                               .out = test.random({tokens, out}, dtype),
                                               .transpose_b = Transpose::yes});
                   }});
    all.push_back({name + " backward input", dtype, [=](KernelUnderTest& test) {
                       measure(test, flops, WorkUnit::flops,
                               kernels::Matmul{.a = test.random({tokens, out}, dtype),
                                               .b = test.random({out, in}, dtype),
                                               .out = test.random({tokens, in}, dtype)});
                   }});
    all.push_back({name + " backward weight", dtype, [=](KernelUnderTest& test) {
                       const TensorView gradient = test.random({out, in}, DType::f32);
                       measure(test, flops, WorkUnit::flops,
                               kernels::Matmul{.a = test.random({tokens, out}, dtype),
                                               .b = test.random({tokens, in}, dtype),
                                               .out = gradient,
                                               .addend = gradient,
                                               .transpose_a = Transpose::yes});
                   }});
}

std::vector<KernelBenchmark> products(const KernelShapes& s, DType dtype)
{
    std::vector<KernelBenchmark> all;
    add_linear(all, "qkv product", s.num_tokens(), 3 * s.hidden, s.hidden, dtype);
    add_linear(all, "attention output product", s.num_tokens(), s.hidden, s.hidden, dtype);
    add_linear(all, "gate and up product", s.num_tokens(), 2 * s.intermediate, s.hidden, dtype);
    add_linear(all, "down product", s.num_tokens(), s.hidden, s.intermediate, dtype);
    add_linear(all, "head product", s.num_tokens(), s.vocabulary, s.hidden, dtype);
    return all;
}

/// Causal: half of the full square. Backward computes the scores again: 2.5 times as much.
void add_attention(std::vector<KernelBenchmark>& all, const KernelShapes& s, DType dtype,
                   bool cudnn)
{
    const std::string of_whom = cudnn ? " (cuDNN)" : "";
    const double flops = 2.0 * static_cast<double>(s.num_tokens() * (s.positions + 1) * s.hidden);
    const Shape qkv{s.sequences, s.positions, 3, s.num_heads, s.head_dim()};
    const Shape out{s.sequences, s.positions, s.num_heads, s.head_dim()};
    const Shape rows{s.sequences, s.num_heads, s.positions};
    const Shape table{s.positions, s.head_dim() / 2};
    all.push_back({"attention forward" + of_whom, dtype, [=](KernelUnderTest& test) {
                       test.attend_by_cudnn(cudnn);
                       measure(
                           test, flops, WorkUnit::flops,
                           kernels::AttentionForward{.qkv = test.random(qkv, dtype),
                                                     .out = test.random(out, dtype),
                                                     .logsumexp = test.random(rows, DType::f32)});
                   }});
    all.push_back({"attention backward" + of_whom, dtype, [=](KernelUnderTest& test) {
                       const kernels::AttentionForward forward{.qkv = test.random(qkv, dtype),
                                                               .out = test.random(out, dtype),
                                                               .logsumexp =
                                                                   test.random(rows, DType::f32)};
                       test.attend_by_cudnn(cudnn);
                       kernels::launch(test.stream(), forward);
                       measure(test, 2.5 * flops, WorkUnit::flops,
                               kernels::AttentionBackward{.dout = test.random(out, dtype),
                                                          .qkv = forward.qkv,
                                                          .out = forward.out,
                                                          .logsumexp = forward.logsumexp,
                                                          .row_dot = test.random(rows, DType::f32),
                                                          .cos = test.random(table, DType::f32),
                                                          .sin = test.random(table, DType::f32),
                                                          .qkv_gradient = test.random(qkv, dtype)});
                   }});
}

void add_norm(std::vector<KernelBenchmark>& all, const KernelShapes& s, DType dtype)
{
    const Shape rows{s.num_tokens(), s.hidden};
    const std::int64_t tokens = s.num_tokens(), hidden = s.hidden;
    all.push_back({"rms_norm forward with residual", dtype, [=](KernelUnderTest& test) {
                       const kernels::RmsNormForward op{.x = test.random(rows, dtype),
                                                        .weight = test.random({hidden}, dtype),
                                                        .addend = test.random(rows, dtype),
                                                        .y = test.random(rows, dtype),
                                                        .rstd = test.random({tokens}, DType::f32)};
                       measure(test, bytes_of({op.x, op.addend, op.y}), WorkUnit::bytes, op);
                   }});
    all.push_back(
        {"rms_norm backward with residual", dtype, [=](KernelUnderTest& test) {
             const kernels::RmsNormBackward op{.dy = test.random(rows, dtype),
                                               .x = test.random(rows, dtype),
                                               .weight = test.random({hidden}, dtype),
                                               .rstd = test.random({tokens}, DType::f32),
                                               .addend = test.random(rows, dtype),
                                               .dx = test.random(rows, dtype),
                                               .weight_gradient =
                                                   test.random({hidden}, DType::f32)};
             measure(test, bytes_of({op.dy, op.x, op.addend, op.dx}), WorkUnit::bytes, op);
         }});
}

void add_elementwise(std::vector<KernelBenchmark>& all, const KernelShapes& s, DType dtype)
{
    all.push_back({"rotary forward", dtype, [=](KernelUnderTest& test) {
                       const Shape table{s.positions, s.head_dim() / 2};
                       const kernels::RotaryForward op{
                           .qkv = test.random(
                               {s.sequences, s.positions, 3, s.num_heads, s.head_dim()}, dtype),
                           .cos = test.random(table, DType::f32),
                           .sin = test.random(table, DType::f32)};
                       // q and k, read and written: four thirds of qkv
                       measure(test, bytes_of({op.qkv}) * 4 / 3, WorkUnit::bytes, op);
                   }});
    const Shape gates{s.num_tokens(), 2 * s.intermediate}, products{s.num_tokens(), s.intermediate};
    all.push_back({"swiglu forward", dtype, [=](KernelUnderTest& test) {
                       const kernels::SwigluForward op{.gate_up = test.random(gates, dtype),
                                                       .h = test.random(products, dtype)};
                       measure(test, bytes_of({op.gate_up, op.h}), WorkUnit::bytes, op);
                   }});
    all.push_back(
        {"swiglu backward", dtype, [=](KernelUnderTest& test) {
             const kernels::SwigluBackward op{.dh = test.random(products, dtype),
                                              .gate_up = test.random(gates, dtype),
                                              .gate_up_gradient = test.random(gates, dtype)};
             measure(test, bytes_of({op.dh, op.gate_up, op.gate_up_gradient}), WorkUnit::bytes, op);
         }});
    const Shape rows{s.num_tokens(), s.hidden};
    all.push_back({"add", dtype, [=](KernelUnderTest& test) {
                       const kernels::Add op{.x = test.random(rows, dtype),
                                             .y = test.random(rows, dtype)};
                       measure(test, bytes_of({op.x, op.y, op.y}), WorkUnit::bytes, op);
                   }});
}

void add_tokens(std::vector<KernelBenchmark>& all, const KernelShapes& s, DType dtype)
{
    const std::int64_t tokens = s.num_tokens();
    all.push_back({"cross_entropy with gradient", dtype, [=](KernelUnderTest& test) {
                       const kernels::CrossEntropy op{
                           .logits = test.random({tokens, s.vocabulary}, dtype),
                           .targets = test.random({tokens}, DType::i32, s.vocabulary),
                           .losses = test.random({tokens}, DType::f64),
                           .gradient_scale = 1.0};
                       measure(test, bytes_of({op.logits, op.logits}), WorkUnit::bytes, op);
                   }});
    all.push_back({"embedding forward", dtype, [=](KernelUnderTest& test) {
                       const kernels::EmbeddingForward op{
                           .tokens = test.random({tokens}, DType::i32, s.vocabulary),
                           .table = test.random({s.vocabulary, s.hidden}, dtype),
                           .out = test.random({tokens, s.hidden}, dtype)};
                       measure(test, bytes_of({op.out, op.out}), WorkUnit::bytes, op);
                   }});
    all.push_back({"embedding backward", dtype, [=](KernelUnderTest& test) {
                       const kernels::EmbeddingBackward op{
                           .tokens = test.random({tokens}, DType::i32, s.vocabulary),
                           .dout = test.random({tokens, s.hidden}, dtype),
                           .table_gradient = test.random({s.vocabulary, s.hidden}, DType::f32)};
                       // Each distinct token's row of the gradient is read and written once.
                       const auto num_ids = static_cast<double>(s.vocabulary);
                       const double distinct =
                           num_ids *
                           (1.0 - std::pow(1.0 - 1.0 / num_ids, static_cast<double>(tokens)));
                       const double sums = 2.0 * 4 * distinct * static_cast<double>(s.hidden);
                       measure(test, bytes_of({op.dout}) + sums, WorkUnit::bytes, op);
                   }});
}

void add_optimizer(std::vector<KernelBenchmark>& all, const KernelShapes& s, DType dtype)
{
    const Shape shape{4 * s.intermediate, s.hidden};
    all.push_back(
        {"adamw", dtype, [=](KernelUnderTest& test) {
             kernels::AdamW op{.weight = test.random(shape, DType::f32),
                               .gradient = test.random(shape, DType::f32),
                               .first_moment = test.random(shape, DType::f32),
                               .second_moment = test.random(shape, DType::f32),
                               .lr = 1e-3,
                               .weight_decay = 0.1};
             if (dtype == DType::bf16)
                 op.compute_copy = test.random(shape, dtype);
             kernels::launch(test.stream(), kernels::Fill{.to = op.second_moment, .value = 0.1});
             const double states = bytes_of({op.weight, op.first_moment, op.second_moment});
             const double copy = op.compute_copy.empty() ? 0.0 : bytes_of({op.compute_copy});
             measure(test, 2.0 * states + bytes_of({op.gradient}) + copy, WorkUnit::bytes, op);
         }});
    all.push_back({"sum_of_squares", dtype, [=](KernelUnderTest& test) {
                       const kernels::SumOfSquares op{.x = {test.random(shape, dtype)},
                                                      .results = test.random({1}, DType::f64)};
                       measure(test, bytes_of({op.x.front()}), WorkUnit::bytes, op);
                   }});
    const Shape message{s.num_tokens(), s.hidden};
    all.push_back({"checksum", dtype, [=](KernelUnderTest& test) {
                       const kernels::Checksum op{.x = test.random(message, dtype),
                                                  .result = test.random({1}, DType::f64)};
                       measure(test, bytes_of({op.x}), WorkUnit::bytes, op);
                   }});
}

} // namespace

TensorView KernelUnderTest::random(const Shape& shape, DType dtype, std::int64_t num_ids)
{
    const auto bytes = static_cast<std::size_t>(shape.num_elements()) * size_of(dtype);
    Arena& arena = memory_.emplace_back(aligned_bytes(bytes), stream_.device);
    const TensorView tensor = arena.allocate(dtype, shape);
    // A block of random numbers, again and again: as random as the kernels can tell.
    const std::int64_t count = std::min<std::int64_t>(shape.num_elements(), 1'000'003);
    const RandomStream numbers(memory_.size(), "benchmark");
    std::vector<std::byte> block(static_cast<std::size_t>(count) * size_of(dtype));
    for (std::int64_t i = 0; i < count; ++i) {
        const auto index = static_cast<std::uint64_t>(i);
        const double value = numbers.uniform(index) - 0.5;
        switch (dtype) {
        case DType::bf16:
            reinterpret_cast<BFloat16*>(block.data())[i] = bfloat16_of(static_cast<float>(value));
            break;
        case DType::f32:
            reinterpret_cast<float*>(block.data())[i] = static_cast<float>(value);
            break;
        case DType::f64: reinterpret_cast<double*>(block.data())[i] = value; break;
        default:
            reinterpret_cast<std::int32_t*>(block.data())[i] = static_cast<std::int32_t>(
                numbers.bits(index) %
                static_cast<std::uint64_t>(std::max<std::int64_t>(1, num_ids)));
        }
    }
    for (std::int64_t begin = 0; begin < shape.num_elements(); begin += count) {
        const Shape part{std::min(count, shape.num_elements() - begin)};
        copy(stream_, TensorView{block.data(), dtype, part, Device{}}, tensor.slice(begin, part));
    }
    synchronize(stream_);
    return tensor;
}

std::vector<KernelBenchmark> tf32_benchmarks(const KernelShapes& s)
{
    std::vector<KernelBenchmark> all = products(s, DType::f32);
    for (KernelBenchmark& product : all)
        product.tf32 = true;
    return all;
}

std::vector<KernelBenchmark> attention_benchmarks(const KernelShapes& s, DType dtype)
{
    std::vector<KernelBenchmark> all;
    add_attention(all, s, dtype, false);
    if (kernels::why_no_cudnn().empty() &&
        kernels::why_not_cudnn(dtype, {s.sequences, s.positions, s.num_heads, s.head_dim()})
            .empty() &&
        s.positions % kernels::cudnn_position_multiple() == 0)
        add_attention(all, s, dtype, true);
    return all;
}

std::vector<KernelBenchmark> kernel_benchmarks(const KernelShapes& s, DType dtype)
{
    std::vector<KernelBenchmark> all = products(s, dtype);
    const std::vector<KernelBenchmark> attention = attention_benchmarks(s, dtype);
    all.insert(all.end(), attention.begin(), attention.end());
    add_norm(all, s, dtype);
    add_elementwise(all, s, dtype);
    add_tokens(all, s, dtype);
    add_optimizer(all, s, dtype);
    return all;
}

KernelBenchmark copy_ceiling(std::int64_t num_bytes)
{
    return {"copy", DType::f32, [=](KernelUnderTest& test) {
                const Shape shape{num_bytes / 4};
                const kernels::Copy op{.from = test.random(shape, DType::f32),
                                       .to = test.random(shape, DType::f32)};
                measure(test, bytes_of({op.from, op.to}), WorkUnit::bytes, op);
            }};
}

KernelBenchmark matmul_ceiling(std::int64_t n, DType dtype, bool tf32)
{
    return {"square product", dtype,
            [=](KernelUnderTest& test) {
                measure(test, 2.0 * static_cast<double>(n * n * n), WorkUnit::flops,
                        kernels::Matmul{.a = test.random({n, n}, dtype),
                                        .b = test.random({n, n}, dtype),
                                        .out = test.random({n, n}, dtype)});
            },
            tf32};
}

} // namespace sluice
