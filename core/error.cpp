#include "core/error.hpp"

namespace sluice {

namespace {
std::string compose(const std::string& problem, const std::string& where, const std::string& remedy)
{
    std::string text = where.empty() ? problem : where + ": " + problem;
    if (!remedy.empty())
        text += "\n  what to do: " + remedy;
    return text;
}
} // namespace

UserError::UserError(ExitCode code, std::string problem, std::string where, std::string remedy)
    : std::runtime_error(compose(problem, where, remedy)), code_(code),
      problem_(std::move(problem)), where_(std::move(where)), remedy_(std::move(remedy))
{
}

UserError usage_error(std::string problem, std::string where, std::string remedy)
{
    return {ExitCode::usage, std::move(problem), std::move(where), std::move(remedy)};
}

UserError data_error(std::string problem, std::string where, std::string remedy)
{
    return {ExitCode::data, std::move(problem), std::move(where), std::move(remedy)};
}

void raise_invariant(const char* file, int line, const char* condition, const std::string& values)
{
    std::ostringstream text;
    text << file << ':' << line << ": broken invariant: " << condition << " (" << values << ')';
    throw InvariantError(text.str());
}

} // namespace sluice
