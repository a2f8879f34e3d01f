// Where a rank runs and listens, as ranks tell each other once at the start.
#pragma once

#include <cstdint>
#include <string>
#include <sys/types.h>
#include <vector>

namespace sluice {

struct RankAddress {
    std::string host;    ///< for messages
    std::string machine; ///< the same for ranks that see the same processes and loopback device
    pid_t process = 0;
    std::uint16_t port = 0;             ///< 0: does not listen
    std::vector<std::string> addresses; ///< IPv4, dotted
    std::uint64_t token = 0;            ///< rank 0's is the job's: who lacks it is a stranger
};

/// Of this process, with a random token.
RankAddress address_of_this_rank(std::uint16_t port);

std::string to_text(const RankAddress& address);
RankAddress rank_address_from(const std::string& text);

/// The ranks that all others report to, ascending: 0 and the first on another machine, or 1; only
/// 0 where there is one rank.
std::vector<int> choose_centres(const std::vector<RankAddress>& ranks);

} // namespace sluice
