#include "src/train/measure_costs.hpp"

#include "core/bfloat16.hpp"
#include "core/compute_stream.hpp"
#include "core/median.hpp"
#include "core/parallel.hpp"
#include "layers/kernels/checksum.hpp"
#include "layers/model_chunk.hpp"
#include "pipeline/schedule/schedule_checker.hpp"
#include "src/plan/candidate.hpp"
#include "src/plan/run_plan.hpp"
#include "src/process/stopwatch.hpp"
#include "src/train/optimizer.hpp"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>

namespace sluice {

namespace {

constexpr int num_repeats = 5;
constexpr std::int64_t num_measured_layers = 2;

/// What `work` queues on the stream is waited for.
double seconds_of(const Stream& stream, const std::function<void()>& work)
{
    const Stopwatch watch;
    work();
    synchronize(stream);
    return watch.seconds();
}

/// Numbers from -1 to 1: products of zeros run faster than real ones.
void fill_with_noise(const Stream& stream, const TensorView& device_tensor)
{
    const HostCopy filled(stream, device_tensor, HostCopy::Begin::empty);
    const TensorView& tensor = filled.view();
    std::uint64_t state = 0x9e3779b97f4a7c15u;
    const auto next = [&] {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return static_cast<double>(state >> 11) * 0x1p-52 - 1.0;
    };
    const std::int64_t count = tensor.shape.num_elements();
    if (tensor.dtype == DType::f64)
        std::generate_n(tensor.as<double>(), count, next);
    else if (tensor.dtype == DType::bf16)
        std::generate_n(tensor.as<BFloat16>(), count,
                        [&] { return bfloat16_of(static_cast<float>(next())); });
    else
        std::generate_n(tensor.as<float>(), count, [&] { return static_cast<float>(next()); });
    filled.write_back();
}

void fill_with_tokens(const Stream& stream, const TensorView& device_tokens,
                      std::int64_t vocab_size)
{
    const HostCopy filled(stream, device_tokens, HostCopy::Begin::empty);
    const TensorView& tokens = filled.view();
    auto* ids = static_cast<std::int32_t*>(tokens.data);
    for (std::int64_t i = 0; i < tokens.shape.num_elements(); ++i)
        ids[i] = static_cast<std::int32_t>(i * 7919 % vocab_size);
    filled.write_back();
}

ModelChunkOptions options_of(const RunConfig& config, const Stream& stream, const LayerRange& range,
                             Recompute recompute)
{
    return {.model = config.model,
            .range = range,
            .micro_batch = {config.batch.micro_batch_size, config.batch.seq_len},
            .num_slots = 1,
            .num_gradient_slots = 1,
            .split = BackwardSplit::split,
            .recompute = recompute,
            .moments = {},
            .precision = element_types(config),
            .stream = stream};
}

/// One micro-batch through a chunk, several times over; gates open.
PassSeconds measure_chunk(const RunConfig& config, const Stream& stream, const LayerRange& range,
                          Recompute recompute = Recompute::none)
{
    ModelChunk chunk(options_of(config, stream, range, recompute));
    chunk.initialize(config.run.seed);
    const std::vector<double> alphas(static_cast<std::size_t>(range.num_layers()), 1.0);
    const double loss_scale = 1.0 / static_cast<double>(config.batch.tokens_per_update());
    std::vector<double> forward, backward_input, backward_weight;
    for (int repeat = 0; repeat <= num_repeats; ++repeat) {
        if (range.embedding)
            fill_with_tokens(stream, chunk.input_tokens(0), config.model.vocab_size);
        else
            fill_with_noise(stream, chunk.input(0));
        if (range.head)
            fill_with_tokens(stream, chunk.target_tokens(0), config.model.vocab_size);
        else
            fill_with_noise(stream, chunk.output_gradient(0));
        const PassSeconds seconds{
            seconds_of(stream, [&] { chunk.forward(0, alphas); }),
            seconds_of(stream, [&] { chunk.backward_input(0, 0, alphas, loss_scale); }),
            seconds_of(stream, [&] { chunk.backward_weight(0, 0, alphas); })};
        if (repeat == 0)
            continue; // pages are new, caches cold, weights unpacked
        forward.push_back(seconds.forward);
        backward_input.push_back(seconds.backward_input);
        backward_weight.push_back(seconds.backward_weight);
    }
    return {upper_median(forward), upper_median(backward_input), upper_median(backward_weight)};
}

double measure_optimizer_per_parameter(const RunConfig& config, const Stream& stream,
                                       std::int64_t num_layers)
{
    const Schedule schedule = make_gpipe(1, 1);
    const LayerRange range{0, num_layers, false, false};
    Stage stage({.model = config.model,
                 .micro_batch = {config.batch.micro_batch_size, config.batch.seq_len},
                 .stream = stream,
                 .warmup = config.prores.schedule,
                 .warmup_steps = config.prores.warmup_steps,
                 .rank = 0,
                 .precision = element_types(config)},
                schedule, check_schedule(schedule).slots, {range});
    double parameters = 0.0;
    ModelChunk& chunk = *stage.chunk(0).model;
    chunk.initialize(config.run.seed);
    for (const Parameter& parameter : chunk.parameters()) {
        fill_with_noise(stream, parameter.gradient);
        parameters += static_cast<double>(parameter.value.shape.num_elements());
    }
    std::vector<double> seconds;
    for (int repeat = 0; repeat <= num_repeats; ++repeat)
        seconds.push_back(seconds_of(stream, [&] {
            adamw_step(stage, config.optimizer, 1e-3, 1.0, repeat + 1);
            stage.zero_gradients();
        }));
    seconds.erase(seconds.begin());
    return upper_median(seconds) / parameters;
}

/// Between ranks' memory on a CPU.
double measure_bytes_per_second(const RunConfig& config)
{
    const std::int64_t count =
        config.batch.micro_batch_size * config.batch.seq_len * config.model.hidden_size;
    std::vector<float> from(static_cast<std::size_t>(count), 1.0F), between(from), to(from);
    const std::size_t bytes = from.size() * sizeof(float);
    const bool checksums = config.pipeline.verify_transfers;
    double sum = 0.0;
    std::vector<double> seconds;
    for (int repeat = 0; repeat <= num_repeats; ++repeat)
        seconds.push_back(seconds_of(Stream{}, [&] {
            std::memcpy(between.data(), from.data(), bytes);
            std::memcpy(to.data(), between.data(), bytes);
            from[0] = to[to.size() - 1]; // keeps both copies alive
            if (checksums)
                for (std::vector<float>* message : {&from, &to})
                    run(kernels::Cpu{}, kernels::Checksum{.x = view_of(message->data(), {count}),
                                                          .result = view_of(&sum, {1})});
        }));
    seconds.erase(seconds.begin());
    return static_cast<double>(bytes) / std::max(upper_median(seconds), 1e-9);
}

} // namespace

CostModel measure_costs(const RunConfig& config)
{
    const MicroBatchShape micro_batch{config.batch.micro_batch_size, config.batch.seq_len};
    const CostModel assumed = costs_from_flops(config.model, micro_batch, assumed_rates(config));
    const std::int64_t layers = std::min(num_measured_layers, config.model.num_layers);
    const std::int64_t last = config.model.num_layers;

    const ComputeStream compute(planned_stream(config));
    const Stream& stream = compute.stream();
    CostModel costs;
    costs.source = fmt::format("measured here with {} thread{} per rank", num_threads(),
                               num_threads() == 1 ? "" : "s");
    costs.decoder_layer = measure_chunk(config, stream, {0, layers, false, false});
    const auto share = static_cast<double>(layers);
    costs.decoder_layer.forward /= share;
    costs.decoder_layer.backward_input /= share;
    costs.decoder_layer.backward_weight /= share;
    costs.embedding = measure_chunk(config, stream, {0, 0, true, false});
    const double head = measure_chunk(config, stream, {last, last, false, true}).total() / 3.0;
    costs.head = {head, head, head};
    // Less than nothing is noise.
    const auto more = [&](Recompute recompute) {
        const PassSeconds layers_again =
            measure_chunk(config, stream, {0, layers, false, false}, recompute);
        return std::max(0.0, layers_again.total() / share - costs.decoder_layer.total());
    };
    costs.recompute = {.lean = more(Recompute::lean), .full = more(Recompute::full)};
    costs.optimizer_per_parameter = measure_optimizer_per_parameter(config, stream, layers);
    costs.transfer_latency = assumed.transfer_latency;
    // One process knows nothing of the way between two GPUs.
    if (stream.device.kind == DeviceKind::cpu) {
        costs.transfer_bytes_per_second = measure_bytes_per_second(config);
    } else {
        costs.transfer_bytes_per_second = assumed.transfer_bytes_per_second;
        costs.source += fmt::format("; messages assumed at {:.0f} GB/s",
                                    1e-9 * assumed.transfer_bytes_per_second);
    }
    return costs;
}

} // namespace sluice
