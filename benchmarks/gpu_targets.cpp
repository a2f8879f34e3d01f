#include "benchmarks/gpu_targets.hpp"

#include <map>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

nlohmann::json target(double floor, double goal) { return {{"floor", floor}, {"goal", goal}}; }

nlohmann::json of_a_model(double floor, double goal, bool large)
{
    return {{"share_of_matmul", target(floor, goal)},
            {"torch_eager", large ? target(1.3, 1.5) : target(1.8, 2.5)},
            {"torch_compile", large ? target(1.08, 1.15) : target(1.15, 1.35)}};
}

} // namespace

nlohmann::json gpu_targets_of(const std::string& preset, const std::string& gpu)
{
    const nlohmann::json deep{{"share_of_12_layers", {{"goal", 0.93}}}};
    static const std::map<std::string, nlohmann::json> all{
        {"llama-71m", of_a_model(0.42, 0.50, false)},
        {"llama-71m-48", deep},
        {"llama-71m-120", deep},
        {"llama-130m", of_a_model(0.50, 0.58, false)},
        {"llama-350m", of_a_model(0.54, 0.62, false)},
        {"llama-1.3b", of_a_model(0.65, 0.73, true)},
        {"llama-7b", {{"share_of_matmul", target(0.75, 0.84)}}}};
    const auto found = all.find(preset);
    nlohmann::json targets = found == all.end() ? nlohmann::json::object() : found->second;
    if (preset == "llama-130m" && gpu.find("H200") != std::string::npos)
        targets["tokens_per_second"] = {{"goal", 600'000}};
    targets["taken_over_planned"] = target(1.08, 1.03);
    return targets;
}

nlohmann::json verdict(const std::string& by, const nlohmann::json& target, double measured)
{
    const bool at_most = by == "taken_over_planned";
    auto verdicts = nlohmann::json::object();
    for (const auto& [name, value] : target.items()) {
        const auto asked = value.get<double>();
        const bool met = at_most ? measured <= asked : measured >= asked;
        verdicts[name] = met ? "met" : at_most ? "above" : "below";
    }
    return verdicts;
}

} // namespace sluice
