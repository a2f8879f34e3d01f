// The gates of a chunk's layers, where the layers' kernels find them.
#pragma once

#include "core/host_ring.hpp"
#include "layers/kernels/factor.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sluice {

/// On GPUs gates lie in the GPU's memory and kernels read them there, so that captured work
/// (layers/action_graphs.hpp) goes on with the gates of the next update. On CPUs each comes with
/// its operation.
class Gates {
public:
    /// `memory`: [num_layers] f32 on the stream's GPU; empty on CPUs.
    Gates(const Stream& stream, std::int64_t num_layers, const TensorView& memory);

    /// One per layer, for work that is queued from now on. On GPUs copied there when they differ
    /// from those before; the host waits only where it is eight such copies ahead.
    void set(std::span<const double> alphas);
    std::span<const double> alphas() const { return alphas_; }
    kernels::Factor of(std::size_t layer) const;

private:
    TensorView memory_;
    HostRing ring_;
    std::vector<double> alphas_; ///< NaN before the first set()
};

} // namespace sluice
