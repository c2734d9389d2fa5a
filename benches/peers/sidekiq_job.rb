require 'sidekiq'
require 'sidekiq/api'
url = "redis://127.0.0.1:#{ENV.fetch('PORT')}/0"
Sidekiq.configure_client { |config| config.redis = { url: url } }
Sidekiq.configure_server { |config| config.redis = { url: url }; config.logger.level = Logger::WARN }
class NoOp
  include Sidekiq::Worker
  def perform(_payload); end
end
