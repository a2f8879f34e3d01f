#include "pipeline/clock_alignment.hpp"

#include "core/error.hpp"
#include "pipeline/transport/transport.hpp"

#include <algorithm>
#include <array>
#include <bit>

namespace sluice {

namespace {

/// A time as the transport carries it.
using Time = std::array<std::int32_t, 2>;

void send(Transport& transport, Time& time, int to_rank, int round)
{
    transport.wait(transport.send(view_of(time.data(), {2}), to_rank, {0, round, false, "clock"}));
}

void receive(Transport& transport, Time& time, int from_rank, int round)
{
    transport.wait(
        transport.receive(view_of(time.data(), {2}), from_rank, {0, round, false, "clock"}));
}

} // namespace

ClockOffset estimate_offset(std::span<const RoundTrip> trips)
{
    SLUICE_CHECK(!trips.empty(), "no round trip");
    const RoundTrip& shortest =
        *std::min_element(trips.begin(), trips.end(), [](const RoundTrip& a, const RoundTrip& b) {
            return a.returned_ns - a.sent_ns < b.returned_ns - b.sent_ns;
        });
    const std::int64_t length = shortest.returned_ns - shortest.sent_ns;
    return {.at_ns = shortest.answered_ns,
            .offset_ns = shortest.sent_ns + length / 2 - shortest.answered_ns,
            .uncertainty_ns = (length + 1) / 2};
}

std::int64_t ClockAlignment::to_reference(std::int64_t other_ns) const
{
    const std::int64_t span = end.at_ns - begin.at_ns;
    if (span <= 0)
        return other_ns + begin.offset_ns;
    const double share = static_cast<double>(other_ns - begin.at_ns) / static_cast<double>(span);
    const auto drift = static_cast<double>(end.offset_ns - begin.offset_ns);
    return other_ns + begin.offset_ns + static_cast<std::int64_t>(share * drift);
}

std::int64_t ClockAlignment::uncertainty_ns() const
{
    return std::max(begin.uncertainty_ns, end.uncertainty_ns);
}

std::vector<ClockOffset> measure_offsets(Transport& transport, std::int64_t (*now)(),
                                         int num_round_trips)
{
    Time time{};
    if (transport.rank() != 0) {
        for (int round = 0; round < num_round_trips; ++round) {
            receive(transport, time, 0, round);
            time = std::bit_cast<Time>(now());
            send(transport, time, 0, round);
        }
        return {};
    }
    std::vector<ClockOffset> offsets(1);
    std::vector<RoundTrip> trips(static_cast<std::size_t>(num_round_trips));
    for (int rank = 1; rank < transport.num_ranks(); ++rank) {
        for (int round = 0; round < num_round_trips; ++round) {
            RoundTrip& trip = trips[static_cast<std::size_t>(round)];
            trip.sent_ns = now();
            send(transport, time, rank, round);
            receive(transport, time, rank, round);
            trip.returned_ns = now();
            trip.answered_ns = std::bit_cast<std::int64_t>(time);
        }
        offsets.push_back(estimate_offset(trips));
    }
    return offsets;
}

} // namespace sluice
