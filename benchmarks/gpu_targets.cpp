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

nlohmann::json gpu_targets_of(const std::string& preset)
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
    return found == all.end() ? nlohmann::json::object() : found->second;
}

nlohmann::json verdict(const nlohmann::json& target, double measured)
{
    auto verdicts = nlohmann::json::object();
    for (const auto& [name, value] : target.items())
        verdicts[name] = measured >= value.get<double>() ? "met" : "below";
    return verdicts;
}

} // namespace sluice
