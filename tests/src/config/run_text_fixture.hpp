// Run files for tests: a small valid one, and what is said about a broken one.
#pragma once

#include "core/error.hpp"
#include "src/config/run_config.hpp"

#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

namespace sluice {

/// Lines 1-6, 7-8, 9-10, 11-12, 13-14; further lines may follow.
inline const std::string small_run = R"([model]
vocab_size = 257
hidden_size = 64
intermediate_size = 172
num_layers = 6
num_heads = 4
[optimizer]
lr = 0.001
[run]
updates = 1000
[data]
train = "tokens.h5"
[batch]
seq_len = 256
)";

inline RunConfig parsed(const std::string& text, const std::vector<std::string>& overrides = {})
{
    return parse_run_config(text, "run.toml", "/data/runs", overrides);
}

/// The small run with overrides.
inline RunConfig small(const std::vector<std::string>& overrides = {})
{
    return parsed(small_run, overrides);
}

/// The message of the UserError (usage) that reading throws; empty when it throws none.
inline std::string message_of(const std::string& text,
                              const std::vector<std::string>& overrides = {})
{
    try {
        parsed(text, overrides);
    } catch (const UserError& error) {
        BOOST_TEST((error.code() == ExitCode::usage));
        return error.what();
    }
    return {};
}

/// Checks that `text` holds every fragment.
inline void check_mentions(const std::string& text, const std::vector<std::string>& fragments)
{
    for (const std::string& fragment : fragments)
        BOOST_TEST(text.find(fragment) != std::string::npos,
                   "no '" << fragment << "' in: " << text);
}

} // namespace sluice
