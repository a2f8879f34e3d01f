#include "io/status_file.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "io/utc_time.hpp"

#include <nlohmann/json.hpp>

namespace sluice {

namespace fs = std::filesystem;

void write_status(const fs::path& path, std::string_view state, std::int64_t update,
                  std::string_view reason, int exit_code)
{
    using Json = nlohmann::ordered_json;
    const Json status = {{"state", state},
                         {"update", update},
                         {"reason", reason},
                         {"exit_code", exit_code},
                         {"time", utc_now()}};
    const std::string text = status.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
    try {
        write_file_durably(path, text);
    } catch (const UserError&) {
        if (!write_over(path, text))
            throw;
    }
}

std::optional<RunStatus> status_in(std::string_view text)
{
    try {
        const auto status = nlohmann::json::parse(text);
        return RunStatus{.state = status.at("state"),
                         .update = status.at("update"),
                         .reason = status.at("reason"),
                         .exit_code = status.at("exit_code")};
    } catch (const nlohmann::json::exception&) {
        return std::nullopt;
    }
}

std::optional<RunStatus> read_status(const fs::path& path)
{
    try {
        return status_in(read_file(path, most_status_bytes));
    } catch (const UserError&) {
        return std::nullopt;
    }
}

} // namespace sluice
