#include "src/plan/cost_file.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "src/config/nearest_name.hpp"
#include "src/config/run_key.hpp"

#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace sluice {

namespace {

/// For writing. Not for reading: every key it adds is searched for among all before.
using OrderedJson = nlohmann::ordered_json;
using Json = nlohmann::json;

constexpr std::string_view format_name = "sluice costs 1";
constexpr std::string_view remedy =
    "docs/planner.md lists the entries; `sluice plan --costs measure --save-costs FILE` writes "
    "such a file";

/// No machine leaves these; within them sums and ratios over any run stay numbers.
constexpr double most_seconds = 1e6, least_layer_seconds = 1e-12;
constexpr double most_bytes_per_second = 1e18;
constexpr double most_count = 1e9;
constexpr std::uint64_t most_file_bytes = std::uint64_t{1} << 24;

/// The value, or only its kind where it could be of any size and depth.
std::string shown(const Json& value)
{
    return value.is_structured() ? std::string("an ") + value.type_name() : value.dump();
}

OrderedJson conditions_json(const CostConditions& conditions)
{
    return {{"vocab_size", conditions.model.vocab_size},
            {"hidden_size", conditions.model.hidden_size},
            {"intermediate_size", conditions.model.intermediate_size},
            {"num_heads", conditions.model.num_heads},
            {"micro_batch_size", conditions.micro_batch.num_sequences},
            {"seq_len", conditions.micro_batch.seq_len},
            {"precision", conditions.precision},
            {"device", conditions.device}};
}

/// Takes entries out of an object, and complains of those that stay.
class Entries {
public:
    Entries(const Json& object, std::string path, std::string file)
        : object_(object), path_(std::move(path)), file_(std::move(file))
    {
        if (!object_.is_object())
            fail("'" + path_ + "' is not an object");
    }

    double seconds(const std::string& name) { return number(name, "seconds", 0.0, most_seconds); }
    /// In [least, most].
    double number(const std::string& name, std::string_view what, double least, double most)
    {
        const Json& value = entry(name);
        const double found = value.is_number() ? value.get<double>() : std::nan("");
        if (!(found >= least && found <= most))
            fail(fmt::format("'{}{}' is {}, not {} from {:g} to {:g}", path_, name, shown(value),
                             what, least, most));
        return found;
    }
    std::int64_t count(const std::string& name)
    {
        const Json& value = entry(name);
        if (!value.is_number_integer() || value.get<double>() < 1.0 ||
            value.get<double>() > most_count)
            fail(fmt::format("'{}{}' is {}, not a whole number from 1 to {:.0f}", path_, name,
                             shown(value), most_count));
        return value.get<std::int64_t>();
    }
    std::string text(const std::string& name)
    {
        const Json& value = entry(name);
        if (!value.is_string())
            fail("'" + path_ + name + "' is not a text");
        return value.get<std::string>();
    }
    bool has(const std::string& name) const { return object_.contains(name); }
    Entries object(const std::string& name)
    {
        return Entries(entry(name), path_ + name + ".", file_);
    }
    PassSeconds passes(const std::string& name)
    {
        Entries passes = object(name);
        const PassSeconds seconds{passes.seconds("forward"), passes.seconds("backward_input"),
                                  passes.seconds("backward_weight")};
        passes.end();
        return seconds;
    }

    void end() const
    {
        for (const auto& [name, value] : object_.items())
            if (std::find(known_.begin(), known_.end(), name) == known_.end()) {
                const std::string nearest = nearest_name(name, known_);
                fail("'" + path_ + name + "' is no entry of a costs file" +
                     (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"));
            }
    }

    [[noreturn]] void fail(const std::string& problem) const
    {
        throw data_error(problem, file_, std::string(remedy));
    }

private:
    const Json& entry(const std::string& name)
    {
        known_.push_back(name);
        const auto found = object_.find(name);
        if (found == object_.end())
            fail("'" + path_ + name + "' is missing");
        return *found;
    }

    const Json& object_;
    std::string path_, file_;
    std::vector<std::string> known_;
};

/// How much longer the run's micro-batches are than those of the file.
double scale_of(Entries conditions, const CostConditions& wanted, const std::string& file)
{
    const OrderedJson expected = conditions_json(wanted);
    for (const auto& [name, value] : expected.items()) {
        if (value.is_string() && !conditions.has(name))
            continue; // of files from before it was written
        const OrderedJson found = value.is_string() ? OrderedJson(conditions.text(name))
                                                    : OrderedJson(conditions.count(name));
        if (name != "micro_batch_size" && found != value)
            throw data_error(
                fmt::format("these costs are for {} = {}, the run has {}", name, found.dump(),
                            value.dump()),
                file,
                "measure again, --costs measure --save-costs FILE, or plan for what they "
                "are (run.device = \"auto\" counts as cpu)");
    }
    const std::int64_t sequences = conditions.count("micro_batch_size");
    conditions.end();
    return static_cast<double>(wanted.micro_batch.num_sequences) / static_cast<double>(sequences);
}

void scale(PassSeconds& seconds, double factor)
{
    seconds.forward *= factor;
    seconds.backward_input *= factor;
    seconds.backward_weight *= factor;
}

OrderedJson passes_json(const PassSeconds& seconds)
{
    return {{"forward", seconds.forward},
            {"backward_input", seconds.backward_input},
            {"backward_weight", seconds.backward_weight}};
}

} // namespace

CostConditions conditions_of(const RunConfig& config)
{
    RunConfig settled = config;
    settle_precision(settled);
    return {.model = config.model,
            .micro_batch = {config.batch.micro_batch_size, config.batch.seq_len},
            .precision = std::string(name_of(settled.precision)),
            .device = config.run.device == "cuda" ? "cuda" : "cpu"};
}

CostModel read_cost_file(const std::filesystem::path& path, const CostConditions& wanted)
{
    const std::string file = path.string();
    Json json;
    try {
        json = Json::parse(read_file(path, most_file_bytes));
    } catch (const nlohmann::json::exception& error) {
        throw data_error("this is not JSON: " + std::string(error.what()), file,
                         std::string(remedy));
    }
    Entries root(json, "", file);
    if (const std::string format = root.text("format"); format != format_name)
        root.fail("the format is '" + format + "', not '" + std::string(format_name) + "'");
    const double factor = scale_of(root.object("conditions"), wanted, file);

    Entries seconds = root.object("seconds");
    CostModel costs;
    costs.source = file + " (" + root.text("source") + ")";
    costs.embedding = seconds.passes("embedding");
    costs.decoder_layer = seconds.passes("decoder_layer");
    costs.head = seconds.passes("head");
    costs.recompute = {seconds.seconds("recompute_lean"), seconds.seconds("recompute_full")};
    costs.optimizer_per_parameter = seconds.seconds("optimizer_per_parameter");
    costs.transfer_latency = seconds.seconds("transfer_latency");
    seconds.end();
    costs.transfer_bytes_per_second =
        root.number("transfer_bytes_per_second", "bytes per second", 1.0, most_bytes_per_second);
    root.end();
    if (costs.decoder_layer.total() < least_layer_seconds)
        root.fail("'seconds.decoder_layer' takes no time at all");
    for (PassSeconds* part : {&costs.embedding, &costs.decoder_layer, &costs.head})
        scale(*part, factor);
    costs.recompute.lean *= factor;
    costs.recompute.full *= factor;
    return costs;
}

void write_cost_file(const std::filesystem::path& path, const CostModel& costs,
                     const CostConditions& conditions)
{
    const OrderedJson json = {{"format", format_name},
                              {"source", costs.source},
                              {"conditions", conditions_json(conditions)},
                              {"seconds",
                               {{"embedding", passes_json(costs.embedding)},
                                {"decoder_layer", passes_json(costs.decoder_layer)},
                                {"head", passes_json(costs.head)},
                                {"recompute_lean", costs.recompute.lean},
                                {"recompute_full", costs.recompute.full},
                                {"optimizer_per_parameter", costs.optimizer_per_parameter},
                                {"transfer_latency", costs.transfer_latency}}},
                              {"transfer_bytes_per_second", costs.transfer_bytes_per_second}};
    write_file_durably(path, json.dump(2) + "\n");
}

} // namespace sluice
