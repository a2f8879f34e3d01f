#include "pipeline/agreement.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"

#include <nlohmann/json.hpp>
#include <span>

namespace sluice {

void agree(Transport& transport, const std::function<void()>& work)
{
    nlohmann::json outcome;
    try {
        with_file_errors_in_words(work);
    } catch (const UserError& error) {
        outcome = {{"code", static_cast<int>(error.code())},
                   {"problem", error.problem()},
                   {"where", error.where()},
                   {"remedy", error.remedy()}};
    }
    // Paths are bytes, not always UTF-8: replace what JSON cannot carry.
    const auto outcomes = transport.gather_text(
        outcome.is_null() ? ""
                          : outcome.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
    int first = -1;
    bool all_alike = true;
    for (std::size_t rank = 0; rank < outcomes.size(); ++rank) {
        if (first < 0 && !outcomes[rank].empty())
            first = static_cast<int>(rank);
        all_alike = all_alike && outcomes[rank] == outcomes[0];
    }
    if (first < 0)
        return;
    const auto error = nlohmann::json::parse(outcomes[static_cast<std::size_t>(first)]);
    std::string where = error["where"];
    if (!all_alike)
        where = "rank " + std::to_string(first) + (where.empty() ? "" : ": " + where);
    throw AgreedError(static_cast<ExitCode>(error["code"].get<int>()), error["problem"], where,
                      error["remedy"]);
}

void on_rank_zero(Transport& transport, const std::function<void()>& work)
{
    agree(transport, [&] {
        if (transport.rank() == 0)
            work();
    });
}

std::size_t least_of_all(Transport& transport, std::size_t number)
{
    double negated = -static_cast<double>(number);
    transport.max({&negated, 1});
    return static_cast<std::size_t>(-negated);
}

bool on_any_rank(Transport& transport, bool here)
{
    double found = here ? 1.0 : 0.0;
    transport.max({&found, 1});
    return found > 0.0;
}

std::string text_of_rank_zero(Transport& transport, std::string text)
{
    double length = transport.rank() == 0 ? static_cast<double>(text.size()) : 0.0;
    transport.sum({&length, 1});
    text.resize(static_cast<std::size_t>(length));
    transport.broadcast(std::as_writable_bytes(std::span(text)), 0);
    return text;
}

} // namespace sluice
