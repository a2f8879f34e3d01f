#include "src/train/fault_injection.hpp"

#include "core/bfloat16.hpp"
#include "core/compute_stream.hpp"
#include "core/error.hpp"

#include <algorithm>
#include <chrono>
#include <limits>
#include <thread>

namespace sluice {

namespace {

bool hits(const FaultInjection& fault, std::int64_t batch, int replica)
{
    return fault.meets(batch) && replica == fault.replica;
}

/// The first element of every tensor of a layer.
template <typename Tensor>
void put(float value, const Stream& stream, StageChunk& chunk, std::int64_t layer, Tensor tensor_of)
{
    for (const Parameter& parameter : chunk.model->parameters()) {
        const TensorView& tensor = parameter.*tensor_of;
        if (parameter.spec.layer != layer)
            continue;
        const HostCopy first(stream, tensor.slice(0, {1}));
        if (tensor.dtype == DType::bf16)
            *first.view().as<BFloat16>() = bfloat16_of(value);
        else if (tensor.dtype == DType::f64)
            *first.view().as<double>() = value;
        else
            *first.view().as<float>() = value;
        first.write_back();
    }
}

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

UserError no_effect(const std::string& problem, const std::string& remedy)
{
    return usage_error(problem, "--inject", remedy);
}

/// The rank at the other end of the messages that enter `chunk`, or `chunk`'s own.
int rank_behind(const RunPlan& plan, std::size_t chunk, bool gradient)
{
    const std::vector<std::int32_t>& rank_of = plan.program.rank_of_chunk;
    if (gradient)
        return chunk + 1 < rank_of.size() ? rank_of[chunk + 1] : rank_of[chunk];
    return chunk > 0 ? rank_of[chunk - 1] : rank_of[chunk];
}

/// Skipped batches move later ones forward, so that any update may meet any.
bool may_skip_batches(const RunConfig& config)
{
    return config.anomaly.on_nonfinite != AnomalyResponse::stop ||
           config.anomaly.on_spike == AnomalyResponse::skip ||
           config.anomaly.on_spike == AnomalyResponse::rewind;
}

/// What is found only by comparing, where there is nothing to compare with.
void refuse_unnoticed(const FaultInjection& fault, const RunConfig& config)
{
    using Kind = FaultInjection::Kind;
    if (config.pipeline.replicas == 1) {
        const std::string remedy = "write pipeline.replicas = 2";
        if (fault.kind == Kind::flip_exchange)
            throw no_effect("one replica exchanges no gradients", remedy);
        if (fault.kind == Kind::flip_weight)
            throw no_effect("one replica compares its weights with nobody's", remedy);
    }
    const bool flips = fault.kind == Kind::flip_activation || fault.kind == Kind::flip_gradient ||
                       fault.kind == Kind::flip_exchange || fault.kind == Kind::flip_weight;
    if (flips && !config.pipeline.verify_transfers)
        throw no_effect("nothing compares what was sent with what arrived",
                        "write pipeline.verify_transfers = true");
    if (fault.kind != Kind::wrong_gradient)
        return;
    const std::int64_t every = config.anomaly.repeat_every;
    if (every == 0)
        throw no_effect("nothing computes gradients again and would notice",
                        "write anomaly.repeat_every = 1");
    if (!may_skip_batches(config) && fault.last_batch / every == (fault.first_batch - 1) / every)
        throw no_effect("only every " + std::to_string(every) +
                            " updates gradients are computed again, and not here",
                        "name a multiple of anomaly.repeat_every, or write 1 for it");
}

} // namespace

void refuse_without_target(const FaultInjection& fault, const RunConfig& config)
{
    if (fault.kind == FaultInjection::Kind::none)
        return;
    const std::int64_t layers = config.model.num_layers;
    if (fault.layer >= layers)
        throw no_effect("there is no layer " + std::to_string(fault.layer),
                        "name one of 0 to " + std::to_string(layers - 1));
    if (fault.replica >= config.pipeline.replicas)
        throw no_effect("there is no replica " + std::to_string(fault.replica),
                        "name one of 0 to " + std::to_string(config.pipeline.replicas - 1));
    if (fault.last_batch < std::max<std::int64_t>(1, fault.first_batch))
        throw no_effect("no update lies from " + std::to_string(fault.first_batch) + " to " +
                            std::to_string(fault.last_batch),
                        "updates count from 1; write the first one first");
    if (!may_skip_batches(config) && fault.first_batch > config.run.updates)
        throw no_effect("there is no update " + std::to_string(fault.first_batch),
                        "the last one is run.updates = " + std::to_string(config.run.updates));
    refuse_unnoticed(fault, config);
}

void refuse_without_message(const FaultInjection& fault, const RunPlan& plan)
{
    using Kind = FaultInjection::Kind;
    if (fault.kind != Kind::flip_activation && fault.kind != Kind::flip_gradient)
        return;
    const bool gradient = fault.kind == Kind::flip_gradient;
    std::string possible;
    for (std::size_t chunk = 0; chunk < plan.partition.size(); ++chunk) {
        const LayerRange& range = plan.partition[chunk];
        if (range.num_layers() == 0 ||
            rank_behind(plan, chunk, gradient) == plan.program.rank_of_chunk[chunk])
            continue;
        if (fault.layer >= range.begin && fault.layer < range.end)
            return;
        possible += (possible.empty() ? "" : ", ") + std::to_string(range.begin) + " to " +
                    std::to_string(range.end - 1);
    }
    throw no_effect("no " + std::string(gradient ? "gradient" : "activation") +
                        " is sent to the stage with layer " + std::to_string(fault.layer),
                    possible.empty() ? "run on more ranks" : "name a layer of " + possible);
}

void inject(const FaultInjection& fault, std::int64_t batch, int replica, Stage& stage,
            Executor& executor, GradientExchange& exchange)
{
    executor.slow_down(1.0);
    if (!hits(fault, batch, replica))
        return;
    for (StageChunk& chunk : stage.chunks()) {
        const LayerRange& range = chunk.model->options().range;
        if (fault.layer < range.begin || fault.layer >= range.end)
            continue;
        switch (fault.kind) {
        case FaultInjection::Kind::nan_gradient:
            put(not_a_number, stage.stream(), chunk, fault.layer, &Parameter::gradient);
            break;
        case FaultInjection::Kind::wrong_gradient:
            // What follows is added to it.
            put(1e-3F, stage.stream(), chunk, fault.layer, &Parameter::gradient);
            break;
        case FaultInjection::Kind::nan_weight:
            put(not_a_number, stage.stream(), chunk, fault.layer, &Parameter::value);
            break;
        case FaultInjection::Kind::flip_activation: executor.inject({chunk.index, 0, false}); break;
        case FaultInjection::Kind::flip_gradient: executor.inject({chunk.index, 0, true}); break;
        case FaultInjection::Kind::flip_exchange: exchange.inject_flip(); break;
        case FaultInjection::Kind::flip_weight:
            for (const Parameter& parameter : chunk.model->parameters())
                if (parameter.spec.layer == fault.layer) {
                    const HostCopy damaged(stage.stream(), parameter.value);
                    static_cast<unsigned char*>(damaged.view().data)[0] ^= 0x10;
                    damaged.write_back();
                }
            break;
        case FaultInjection::Kind::advance_gate:
            chunk.warmup.advance_layer_out_of_step(fault.layer - range.begin);
            break;
        case FaultInjection::Kind::hang:
            for (;;)
                std::this_thread::sleep_for(std::chrono::seconds(1));
        case FaultInjection::Kind::slow: executor.slow_down(5.0); break;
        case FaultInjection::Kind::garbled_targets: // FaultyTokens does it
        case FaultInjection::Kind::none: break;
        }
    }
}

FaultyTokens::FaultyTokens(TokenSource& tokens, const FaultInjection& fault, std::int64_t batch,
                           int replica, std::int64_t vocab_size)
    : tokens_(tokens),
      garbled_(fault.kind == FaultInjection::Kind::garbled_targets && hits(fault, batch, replica)),
      vocab_size_(vocab_size)
{
}

void FaultyTokens::inputs(std::int32_t microbatch, const TensorView& into)
{
    tokens_.inputs(microbatch, into);
}

void FaultyTokens::targets(std::int32_t microbatch, const TensorView& into)
{
    tokens_.targets(microbatch, into);
    if (!garbled_)
        return;
    auto* const ids = into.as<std::int32_t>();
    for (std::int64_t i = 0; i < into.num_elements(); ++i)
        ids[i] = static_cast<std::int32_t>((ids[i] + 1 + 7 * i) % vocab_size_);
}

} // namespace sluice
