#include "src/train/rank_binding.hpp"

#include "core/cores.hpp"
#include "core/host_name.hpp"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace sluice {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RankBinding, node, cores, gpus)

namespace {

/// {0, 1, 2, 5} as "0-2,5".
std::string ranges_of(const std::vector<int>& numbers)
{
    std::string text;
    for (std::size_t i = 0; i < numbers.size();) {
        std::size_t end = i;
        while (end + 1 < numbers.size() && numbers[end + 1] == numbers[end] + 1)
            ++end;
        text += (text.empty() ? "" : ",") + std::to_string(numbers[i]);
        if (end > i)
            text += "-" + std::to_string(numbers[end]);
        i = end + 1;
    }
    return text;
}

bool same_share(const RankBinding& one, const RankBinding& other)
{
    return one.cores == other.cores && one.gpus == other.gpus;
}

std::string share_text(const std::vector<int>& ranks, const RankBinding& binding)
{
    const bool several = ranks.size() > 1;
    std::string text = (several ? "ranks " : "rank ") + ranges_of(ranks);
    text += (several ? " share cores " : " on cores ") + binding.cores;
    return binding.gpus.empty() ? text : text + " and GPUs " + binding.gpus;
}

} // namespace

RankBinding binding_of_this_rank()
{
    const char* const gpus = std::getenv("CUDA_VISIBLE_DEVICES");
    return {host_name(), ranges_of(cores_of(0)), gpus ? gpus : ""};
}

std::string to_text(const RankBinding& binding)
{
    return nlohmann::json(binding).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

RankBinding binding_from(const std::string& text)
{
    return nlohmann::json::parse(text).get<RankBinding>();
}

std::vector<std::string> binding_lines(const std::vector<RankBinding>& of_rank)
{
    std::vector<std::string> nodes, lines;
    for (const RankBinding& binding : of_rank)
        if (std::find(nodes.begin(), nodes.end(), binding.node) == nodes.end())
            nodes.push_back(binding.node);
    for (const std::string& node : nodes) {
        std::string line;
        std::vector<int> alike;
        const auto tell = [&] {
            if (!alike.empty())
                line += (line.empty() ? node + ": " : ", ") +
                        share_text(alike, of_rank[static_cast<std::size_t>(alike.front())]);
            alike.clear();
        };
        for (std::size_t rank = 0; rank < of_rank.size(); ++rank) {
            if (of_rank[rank].node != node)
                continue;
            if (!alike.empty() &&
                !same_share(of_rank[static_cast<std::size_t>(alike.front())], of_rank[rank]))
                tell();
            alike.push_back(static_cast<int>(rank));
        }
        tell();
        lines.push_back(line);
    }
    return lines;
}

} // namespace sluice
