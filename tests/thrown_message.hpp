// What an error says to the user.
#pragma once

#include "core/error.hpp"

#include <boost/test/unit_test.hpp>

#include <functional>
#include <string>
#include <string_view>

namespace sluice::testing {

/// The message of the UserError (data) that `work` throws, or "nothing thrown".
inline std::string message_of(const std::function<void()>& work)
{
    try {
        work();
    } catch (const UserError& error) {
        BOOST_TEST(static_cast<int>(error.code()) == static_cast<int>(ExitCode::data));
        return error.what();
    }
    return "nothing thrown";
}

inline bool contains(std::string_view text, std::string_view part)
{
    return text.find(part) != std::string_view::npos;
}

} // namespace sluice::testing
