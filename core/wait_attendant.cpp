#include "core/wait_attendant.hpp"

#include "core/compute_stream.hpp"
#include "core/cuda/gpu_stream.hpp"
#include "core/error.hpp"

#include <chrono>
#include <ctime>
#include <exception>
#include <sched.h>

namespace sluice {

namespace {

/// Between two looks: a short wait ends at once, a long one takes no core from those who compute,
/// and at most a hundredth longer.
void rest(std::chrono::steady_clock::time_point begun)
{
    constexpr std::chrono::milliseconds awake{10};
    constexpr timespec nap{0, 50'000};
    if (std::chrono::steady_clock::now() - begun < awake)
        sched_yield();
    else
        nanosleep(&nap, nullptr);
}

/// Says so, also where the wait ends with an error.
struct EndOfWait {
    WaitAttendant& attendant;
    ~EndOfWait() { attendant.over(); }
};

} // namespace

WaitAttendant::WaitAttendant(const Stream& stream)
    : stream_(stream), end_(std::make_unique<GpuEvent>())
{
    const GpuStream& gpu = GpuStream::of(stream_);
    SLUICE_CHECK(gpu.attendant() == nullptr, "two attendants of one stream");
    gpu.attend(this);
}

WaitAttendant::~WaitAttendant() { GpuStream::of(stream_).attend(nullptr); }

void wait_for(const GpuEvent& mark, const Stream& stream)
{
    WaitAttendant* const attendant = GpuStream::of(stream).attendant();
    if (attendant == nullptr) {
        mark.wait();
        return;
    }
    if (mark.reached())
        return;
    const EndOfWait end{*attendant};
    const auto begun = std::chrono::steady_clock::now();
    do {
        attendant->look();
        rest(begun);
    } while (!mark.reached());
}

bool may_free_behind(const GpuEvent& mark, const Stream& stream) noexcept
{
    try {
        if (std::uncaught_exceptions() > 0)
            return mark.reached();
        wait_for(mark, stream);
        return true;
    } catch (const std::exception&) {
        return false; // the GPU has failed, or a message of another rank
    }
}

void drain(const Stream& stream) noexcept
{
    if (std::uncaught_exceptions() > 0)
        return;
    try {
        synchronize(stream);
    } catch (const std::exception&) {
        // As above; a destructor has nobody to tell.
    }
}

void synchronize(const Stream& stream)
{
    if (stream.device.kind != DeviceKind::cuda)
        return;
    const GpuStream& gpu = GpuStream::of(stream);
    if (WaitAttendant* const attendant = gpu.attendant()) {
        attendant->end_->record(stream);
        wait_for(*attendant->end_, stream);
    }
    gpu.synchronize();
}

} // namespace sluice
