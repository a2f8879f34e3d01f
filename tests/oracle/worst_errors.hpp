// Compares tensors with the oracle's and remembers the worst of each kind, by name.
#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::testing {

/// max |found - expected| / max |expected|. Where the oracle has nothing but zeros the answer is 0
/// for exact zeros and infinity for anything else; a NaN counts as infinity.
double relative_error(std::span<const double> found, std::span<const double> expected);

class WorstErrors {
public:
    /// `title` heads the table.
    explicit WorstErrors(std::string title) : title_(std::move(title)) {}

    /// Compares, fails the test (naming the tensor) beyond `tolerance`, and keeps the worst of
    /// `kind`.
    void check(const std::string& kind, const std::string& tensor, std::span<const double> found,
               std::span<const double> expected, double tolerance);

    /// The table as a message of the test (--log_level=message), and behind the end of the file
    /// that the environment variable SLUICE_ORACLE_TABLE names.
    void report() const;

private:
    struct Worst {
        double error = -1.0;
        double tolerance = 0.0;
        std::string tensor;
        int num_tensors = 0;
    };
    std::string markdown() const;

    std::string title_;
    std::vector<std::string> order_;
    std::map<std::string, Worst> worst_;
};

/// "q_proj" of "model.layers.3.self_attn.q_proj.weight"; norms by their name, too.
std::string kind_of(std::string_view parameter_name);

} // namespace sluice::testing
