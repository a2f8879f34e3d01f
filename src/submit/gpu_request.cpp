#include "src/submit/gpu_request.hpp"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <optional>

namespace sluice {

namespace {

std::vector<std::string_view> split(std::string_view text, char at)
{
    std::vector<std::string_view> parts;
    while (true) {
        const std::size_t end = std::min(text.find(at), text.size());
        parts.push_back(text.substr(0, end));
        if (end == text.size())
            return parts;
        text.remove_prefix(end + 1);
    }
}

std::optional<int> number_in(std::string_view text)
{
    int number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number < 0)
        return std::nullopt;
    return number;
}

/// Of "4", "h100:4" or "a100:2,h100:2"; a kind without a number is one GPU.
int count_in(std::string_view text)
{
    int sum = 0;
    for (const std::string_view part : split(text, ','))
        sum += number_in(split(part, ':').back()).value_or(1);
    return sum;
}

/// Of "gpu:h100:4,shm:1".
int count_in_gres(std::string_view text)
{
    int sum = 0;
    for (std::string_view part : split(text, ',')) {
        if (part.starts_with("gres/"))
            part.remove_prefix(5);
        if (part == "gpu")
            ++sum;
        else if (part.starts_with("gpu:"))
            sum += count_in(part.substr(4));
    }
    return sum;
}

} // namespace

GpuRequest gpu_request(const std::vector<std::pair<std::string, std::string>>& sbatch, int nodes,
                       int tasks_per_node)
{
    GpuRequest request;
    for (const auto& [option, value] : sbatch) {
        int per_node = 0;
        if (option == "gpus-per-node")
            per_node = count_in(value);
        else if (option == "gres")
            per_node = count_in_gres(value);
        else if (option == "gpus-per-task")
            per_node = count_in(value) * tasks_per_node;
        else if (option == "gpus" && count_in(value) % nodes == 0)
            per_node = count_in(value) / nodes;
        const bool unknown =
            option == "gpus-per-socket" || (option == "gpus" && count_in(value) % nodes != 0);
        request.any = request.any || per_node > 0 || unknown;
        request.per_node = std::max(request.per_node, per_node);
        request.hides_peers =
            request.hides_peers || (option == "gpus-per-task" && tasks_per_node > 1);
    }
    return request;
}

std::string_view device_of_job(std::string_view device, const GpuRequest& request)
{
    return device == "cuda" || (device == "auto" && request.any) ? "cuda" : "cpu";
}

std::vector<std::string> doubts_about(const GpuRequest& request, std::string_view device,
                                      int tasks_per_node)
{
    if (device == "cpu")
        return request.any ? std::vector<std::string>{"the job asks for GPUs, which a run with "
                                                      "run.device = \"cpu\" leaves idle"}
                           : std::vector<std::string>{};
    if (!request.any)
        return device == "auto" ? std::vector<std::string>{}
                                : std::vector<std::string>{
                                      "run.device = \"cuda\", but the job asks for no GPUs: give "
                                      "--gpus-per-node, unless its nodes give theirs to every job"};
    std::vector<std::string> doubts;
    if (request.hides_peers)
        doubts.push_back("gpus-per-task hides the GPUs of a node's ranks from each other: give "
                         "--gpus-per-node instead");
    if (request.per_node > tasks_per_node)
        doubts.push_back(fmt::format("{} of {} GPUs on each node stay idle, as it has {} rank{}: "
                                     "--ntasks-per-node {} would use all",
                                     request.per_node - tasks_per_node, request.per_node,
                                     tasks_per_node, tasks_per_node > 1 ? "s" : "",
                                     request.per_node));
    else if (request.per_node > 0 && request.per_node < tasks_per_node)
        doubts.push_back(fmt::format("{} ranks share {} GPU{} on each node: they take turns, and "
                                     "their messages go by way of the host's memory",
                                     tasks_per_node, request.per_node,
                                     request.per_node > 1 ? "s" : ""));
    return doubts;
}

} // namespace sluice
