import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import org.apache.catalina.Context;
import org.apache.catalina.startup.Tomcat;
import org.apache.tomcat.util.descriptor.web.FilterDef;
import org.apache.tomcat.util.descriptor.web.FilterMap;

/** A servlet in Tomcat that says who its user is, behind the filter of the example. */
public class JavaApplication extends HttpServlet {
  @Override
  protected void doGet(HttpServletRequest request, HttpServletResponse response)
      throws IOException {
    response.getWriter().print(request.getRemoteUser());
  }

  /** The arguments: folder, port, and the three that the filter takes. */
  public static void main(String[] words) throws Exception {
    Tomcat tomcat = new Tomcat();
    tomcat.setBaseDir(words[0]);
    tomcat.setHostname("127.0.0.1");
    tomcat.setPort(Integer.parseInt(words[1]));
    tomcat.getConnector().setProperty("address", "127.0.0.1");
    Context context = tomcat.addContext("", words[0]);
    Tomcat.addServlet(context, "application", new JavaApplication());
    context.addServletMappingDecoded("/", "application");
    FilterDef filter = new FilterDef();
    filter.setFilterName("doorward");
    filter.setFilter(new DoorwardFilter(words[2], words[3], words[4]));
    context.addFilterDef(filter);
    FilterMap everywhere = new FilterMap();
    everywhere.setFilterName("doorward");
    everywhere.addURLPattern("/*");
    context.addFilterMap(everywhere);
    tomcat.start();
    tomcat.getServer().await();
  }
}
