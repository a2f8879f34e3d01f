#include "src/train/fault_injection.hpp"

#include <chrono>
#include <limits>
#include <thread>

namespace sluice {

namespace {

bool hits(const FaultInjection& fault, std::int64_t batch, int replica)
{
    return batch >= fault.first_batch && batch <= fault.last_batch && replica == fault.replica;
}

void put_nan(const TensorView& tensor)
{
    if (tensor.dtype == DType::f32)
        tensor.as<float>()[0] = std::numeric_limits<float>::quiet_NaN();
}

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
            for (const Parameter& parameter : chunk.model->parameters())
                if (parameter.spec.layer == fault.layer)
                    put_nan(parameter.gradient);
            break;
        case FaultInjection::Kind::wrong_gradient:
            for (const Parameter& parameter : chunk.model->parameters())
                if (parameter.spec.layer == fault.layer && parameter.gradient.dtype == DType::f32)
                    parameter.gradient.as<float>()[0] = 1e-3F; // what follows is added to it
            break;
        case FaultInjection::Kind::nan_weight:
            for (const Parameter& parameter : chunk.model->parameters())
                if (parameter.spec.layer == fault.layer)
                    put_nan(parameter.value);
            break;
        case FaultInjection::Kind::flip_activation: executor.inject({chunk.index, 0, false}); break;
        case FaultInjection::Kind::flip_gradient: executor.inject({chunk.index, 0, true}); break;
        case FaultInjection::Kind::flip_exchange: exchange.inject_flip(); break;
        case FaultInjection::Kind::flip_weight:
            for (const Parameter& parameter : chunk.model->parameters())
                if (parameter.spec.layer == fault.layer)
                    static_cast<unsigned char*>(parameter.value.data)[0] ^= 0x10;
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
