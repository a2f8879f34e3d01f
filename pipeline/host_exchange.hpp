// What a rank's host and its device hand each other in every micro-batch: token ids one way, token
// losses the other. On CPUs both lie in one memory and nothing is copied; on GPUs they pass through
// rows of locked host memory, and the host waits only when it is a whole ring of rows ahead.
#pragma once

#include "core/host_ring.hpp"
#include "core/tensor_view.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sluice {

/// Token ids on their way to the device.
class TokenUpload {
public:
    TokenUpload(const Stream& stream, std::int64_t num_tokens);
    /// Lets `fill` write the ids into host memory and sends them to `to` [N] i32.
    template <class Fill>
    void operator()(const TensorView& to, const Fill& fill)
    {
        if (to.device.kind == DeviceKind::cpu)
            fill(to);
        else
            ring_.upload(to, fill);
    }

private:
    HostRing ring_;
};

/// Token losses on their way to the host, which adds them up.
class LossDownload {
public:
    LossDownload(const Stream& stream, std::int64_t num_tokens);
    /// `sum` is the sum of `losses` [N] f64, in token order, once finish() has returned; the losses
    /// may be overwritten by later work on the stream.
    void operator()(const TensorView& losses, double& sum);
    /// Blocks until all sums are there.
    void finish();

private:
    void add_up(std::size_t row);

    Stream stream_;
    Shape shape_;
    HostRing ring_;
    std::vector<double*> sums_; ///< [row]: where its sum belongs; nullptr: nothing is under way
};

} // namespace sluice
