#include "src/train/fault_injection.hpp"

#include "core/bfloat16.hpp"
#include "core/compute_stream.hpp"

#include <chrono>
#include <limits>
#include <thread>

namespace sluice {

namespace {

bool hits(const FaultInjection& fault, std::int64_t batch, int replica)
{
    return batch >= fault.first_batch && batch <= fault.last_batch && replica == fault.replica;
}

/// The first element of every tensor of a layer.
template <typename Tensor>
void put(float value, const Stream& stream, StageChunk& chunk, std::int64_t layer, Tensor tensor_of)
{
    for (const Parameter& parameter : chunk.model->parameters()) {
        const TensorView& tensor = parameter.*tensor_of;
        if (parameter.spec.layer != layer || tensor.dtype == DType::f64)
            continue;
        const HostCopy first(stream, tensor.slice(0, {1}));
        if (tensor.dtype == DType::bf16)
            *first.view().as<BFloat16>() = bfloat16_of(value);
        else
            *first.view().as<float>() = value;
        first.write_back();
    }
}

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

} // namespace

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
