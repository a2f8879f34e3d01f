#include "src/watch/rank_address.hpp"

#include "core/host_name.hpp"

#include <arpa/inet.h>
#include <array>
#include <filesystem>
#include <ifaddrs.h>
#include <net/if.h>
#include <nlohmann/json.hpp>
#include <random>
#include <unistd.h>

namespace sluice {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RankAddress, host, machine, process, port, addresses, token)

namespace {

/// Containers on one machine share its boot id, but not always processes and network.
std::string machine()
{
    std::string text = boot_id();
    for (const char* kind : {"/proc/self/ns/pid", "/proc/self/ns/net"}) {
        std::error_code error;
        text += " " + std::filesystem::read_symlink(kind, error).string();
    }
    return text;
}

std::vector<std::string> own_addresses()
{
    std::vector<std::string> found;
    ifaddrs* first = nullptr;
    if (getifaddrs(&first) != 0)
        return found;
    for (const ifaddrs* one = first; one != nullptr; one = one->ifa_next) {
        if (one->ifa_addr == nullptr || one->ifa_addr->sa_family != AF_INET ||
            (one->ifa_flags & IFF_LOOPBACK) != 0 || (one->ifa_flags & IFF_UP) == 0)
            continue;
        std::array<char, INET_ADDRSTRLEN> text{};
        const auto* address = reinterpret_cast<const sockaddr_in*>(one->ifa_addr);
        if (inet_ntop(AF_INET, &address->sin_addr, text.data(), text.size()) != nullptr)
            found.emplace_back(text.data());
    }
    freeifaddrs(first);
    return found;
}

} // namespace

RankAddress address_of_this_rank(std::uint16_t port)
{
    std::random_device random;
    return {.host = host_name(),
            .machine = machine(),
            .process = getpid(),
            .port = port,
            .addresses = own_addresses(),
            .token = (std::uint64_t{random()} << 32) | random()};
}

std::string to_text(const RankAddress& address)
{
    return nlohmann::json(address).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

RankAddress rank_address_from(const std::string& text)
{
    return nlohmann::json::parse(text).get<RankAddress>();
}

std::vector<int> choose_centres(const std::vector<RankAddress>& ranks)
{
    if (ranks.size() == 1)
        return {0};
    for (std::size_t rank = 1; rank < ranks.size(); ++rank)
        if (ranks[rank].machine != ranks[0].machine)
            return {0, static_cast<int>(rank)};
    return {0, 1};
}

} // namespace sluice
