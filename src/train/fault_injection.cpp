#include "src/train/fault_injection.hpp"

#include <chrono>
#include <limits>
#include <thread>

namespace sluice {

void inject(const FaultInjection& fault, std::int64_t update, int replica, Stage& stage,
            Executor& executor, GradientExchange& exchange)
{
    executor.slow_down(1.0);
    if (update < fault.first_update || update > fault.last_update || replica != fault.replica)
        return;
    for (StageChunk& chunk : stage.chunks()) {
        const LayerRange& range = chunk.model->options().range;
        if (fault.layer < range.begin || fault.layer >= range.end)
            continue;
        switch (fault.kind) {
        case FaultInjection::Kind::nan_gradient:
            for (const Parameter& parameter : chunk.model->parameters())
                if (parameter.spec.layer == fault.layer && parameter.gradient.dtype == DType::f32)
                    parameter.gradient.as<float>()[0] = std::numeric_limits<float>::quiet_NaN();
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
        case FaultInjection::Kind::slow: executor.slow_down(3.0); break;
        case FaultInjection::Kind::none: break;
        }
    }
}

} // namespace sluice
