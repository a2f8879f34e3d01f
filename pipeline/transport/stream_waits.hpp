// What a GPU's computing stream waits for: messages of other ranks, in the order in which it comes
// to them.
//
// The host queues work behind messages that have not come yet and goes on. When it then waits for
// the stream, it waits for those ranks, and says so here (rank_activity.hpp): for the one whose
// message the stream has come to and not past, and for nobody while the GPU itself is busy. Where
// the host goes on it leaves behind what the GPU may be waiting for, as CUDA takes only about a
// thousand launches in advance and then makes the host wait within a call.
#pragma once

#include "core/cuda/gpu_stream.hpp"
#include "core/wait_attendant.hpp"
#include "pipeline/rank_activity.hpp"

#include <cstddef>
#include <memory>
#include <vector>

namespace sluice {

class Transport;

class StreamWaits final : public WaitAttendant {
public:
    /// `compute` and `activity` (nullptr: nobody wants to know) must outlive it.
    StreamWaits(const Stream& compute, RankActivity* activity);
    ~StreamWaits() override;

    /// While the host waits for the stream, `carrier` makes progress and throws what it finds.
    void add(Transport& carrier) { carriers_.push_back(&carrier); }
    void remove(Transport& carrier) { std::erase(carriers_, &carrier); }

    /// Later work on the stream waits for `done`, which `whom` brings about. The host waits, where
    /// the stream would have more than `most` such marks before it.
    void hold_back(const GpuEvent& done, const RankWait& whom);
    /// Between other work of the host: forgets what the stream has come past.
    void follow();

    void look() override;
    void over() noexcept override;

    static constexpr std::size_t most = 64;

private:
    struct Mark {
        GpuEvent come_to, past;
        RankWait whom;
    };
    void forget_past();
    Mark& oldest() { return *marks_[first_]; }
    void presume();

    RankActivity* activity_;
    std::vector<Transport*> carriers_;
    std::vector<std::unique_ptr<Mark>> marks_; ///< [most]: a ring
    std::size_t first_ = 0, count_ = 0;        ///< in marks_
    std::uint32_t newest_group_ = 0;
    bool looking_ = false;
    RankWait published_; ///< while looking
};

} // namespace sluice
